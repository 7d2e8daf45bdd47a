"""``python -m intact``: the same as the ``intact`` command."""

from intact.cli import main

main()
