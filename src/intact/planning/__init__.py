"""What format every tensor gets, and why: ``schemes`` and ``targets`` are rows of data, ``planner`` makes the ``plan``, by
``weights`` where a tensor is a weight, and ``integer_graph`` makes of graph and plan the graph that is written.
``adjusted_constants`` are what remedies changed beside a plan, ``steps`` what they may learn of it.
"""
