"""Where finished cells are shown beside the store: TensorBoard and Weights & Biases."""

from gold_sim.store.sinks.sink import FORMS, Sink, export, open_sink
