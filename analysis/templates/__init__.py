"""Studies that several experiments share: scaling with an axis, and variants side by side."""
