"""What format every tensor gets, and why: ``schemes`` and ``targets`` are rows of data, ``planner`` makes the ``plan``, and
``integer_graph`` makes of graph and plan the graph that is written.
"""
