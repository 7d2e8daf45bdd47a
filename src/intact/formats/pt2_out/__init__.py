"""Networks as exported programs of torch, for its eager operators and its compiler."""

from intact.formats.pt2_out.write import ABOUT as ABOUT
from intact.formats.pt2_out.write import write as write
