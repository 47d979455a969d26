"""A language: prompts, demonstrations, the rubric, and what all languages share."""
