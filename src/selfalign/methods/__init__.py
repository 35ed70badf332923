"""The published methods, one file each; a new one is one line here."""

from __future__ import annotations

from selfalign.methods.diverse_evol import DiverseEvol
from selfalign.methods.humpback import Humpback
from selfalign.methods.i_sheep import ISheep
from selfalign.methods.self_align import SelfAlign
from selfalign.methods.sft import SupervisedFineTuning
from selfalign.methods.soft import Soft
from selfalign.methods.spin import Spin

METHODS: dict[str, type[Spin | DiverseEvol | Humpback | ISheep | SelfAlign | Soft | SupervisedFineTuning]] = {
    "spin": Spin,
    "diverse_evol": DiverseEvol,
    "humpback": Humpback,
    "i_sheep": ISheep,
    "self_align": SelfAlign,
    "soft": Soft,
    "sft": SupervisedFineTuning,
}
