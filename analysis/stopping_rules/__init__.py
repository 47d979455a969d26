"""When to stop optimising: rules, thresholds that keep false alarms rare, and what a rule loses in gold."""
