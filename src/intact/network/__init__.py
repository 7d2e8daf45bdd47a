"""The network as data: the graph, what must hold of it, and what can be asked of it."""
