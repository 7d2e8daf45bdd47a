"""Plans of small networks, calibrated on random samples."""

from nets import images

from intact.planning.planner import make_plan
from intact.planning.ranges import MinMax
from intact.planning.request import Request
from intact.planning.schemes import scheme
from intact.planning.targets import target
from intact.simulate.calibrate import observe


def ranges_of(graph, x):
    seen = observe(graph, lambda: [{graph.input_names[0]: x}])
    return {i: MinMax().estimate(o) for i, o in seen.items()}


def planned(graph, x=None, **options):
    names = {"scheme": "int8", "target": "cpu"} | options
    request = Request(**names | {"scheme": scheme(names["scheme"]), "target": target(names["target"])})
    return make_plan(graph, ranges_of(graph, images(20) if x is None else x), request)
