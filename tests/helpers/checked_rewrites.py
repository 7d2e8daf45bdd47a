"""Rewrites that are followed by :func:`verify`: what one breaks is named at once, with the rewrite."""

from intact.errors import located
from intact.network.graph import rebuild
from intact.network.verify import verify

#: Larger graphs are verified at the end alone, as outside of tests: an unrolled loop has thousands of ops and rewrites.
MOST_OPS = 60


def checked(rewrites):
    """The rows of ``REWRITES``, each verifying the graph that it gives."""

    def row(name, rewrite):
        def run(view, op):
            changed = rewrite(view, op)
            if changed is not None and len(changed.ops) <= MOST_OPS:
                with located(f"after rewrite {name!r}"):
                    verify(changed)
            return changed

        return run

    return {name: row(name, rewrite) for name, rewrite in rewrites.items()}


def checked_lowerings(lowerings):
    """The rows of ``LOWERINGS``, each verifying the graph with the one op replaced."""

    def row(key, lowering):
        def run(graph, op, free):
            ops, tensors = lowering(graph, op, free)
            if ops != [op] and len(graph.ops) <= MOST_OPS:
                with located(f"after lowering {key}"):
                    verify(rebuild(graph, [new for o in graph.ops for new in (ops if o is op else [o])], tensors))
            return ops, tensors

        return run

    return {key: row(key, lowering) for key, lowering in lowerings.items()}
