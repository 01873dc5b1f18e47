"""picker's export: from a training run to a model bundle, measured through the graph that ships."""
