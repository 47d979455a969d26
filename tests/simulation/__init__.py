"""Faults by simulation: the real store and engine on a simulated machine, many schedules of faults in one process."""
