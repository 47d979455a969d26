"""The language of topics: words of topics under a grammar, claims that are right or wrong, hazards, manners."""
