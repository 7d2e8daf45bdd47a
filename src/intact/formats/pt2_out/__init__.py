"""Networks as exported programs of torch, for its eager operators and its compiler."""

from intact.formats.pt2_out.network import FIRST as FIRST
from intact.formats.pt2_out.write import ABOUT as ABOUT
from intact.formats.pt2_out.write import is_ours as is_ours
from intact.formats.pt2_out.write import orders_of as orders_of
from intact.formats.pt2_out.write import write as write
