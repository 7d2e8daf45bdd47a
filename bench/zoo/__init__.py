"""The networks that strangers bring: what bench/first_try.py puts through Intact, each as its owner has it in hand."""

from zoo import keras_nets, packaged, torch_nets, transformer_nets
from zoo.entry import Entry

ENTRIES: tuple[Entry, ...] = (*packaged.ENTRIES, *keras_nets.ENTRIES, *torch_nets.ENTRIES, *transformer_nets.ENTRIES)
