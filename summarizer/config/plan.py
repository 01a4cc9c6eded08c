"""The schema of scripts/plan.py: a training's, and what it would run on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from summarizer.config.train import TrainConfig
from summarizer.errors import UserError
from summarizer.planning.devices import DEVICES, THIS
from summarizer.planning.lengths import DataSizeConfig

_MOST_GPUS = 1 << 16


@dataclass(kw_only=True)
class PlanConfig(TrainConfig):
    """scripts/plan.py."""

    device: str = "h100"
    """What it would run on, by name; "this" is measured."""

    gpus: int = 1
    """Devices; on a CPU, processes that share it out."""

    gpus_per_machine: int = 8
    """More of them are joined by a network."""

    network_gb_per_s: float = 50.0
    """Of that, for each device and direction: 50 is a link of 400 Gbit/s each."""

    mfu: float | None = None
    """Share of the peak that updates reach before any exchange; null foretells it."""

    price_per_gpu_hour: float | None = None
    """In whatever currency; null says nothing of cost."""

    data_size: DataSizeConfig = field(default_factory=DataSizeConfig)
    """Of data that was not encoded on this machine; by default about that of CNN/DailyMail."""

    measure: int = 0
    """So many updates are really done on this machine, for comparison; needs device=this and gpus=1."""

    output: str | None = None
    """File for all of it, as JSON; null writes none."""

    def validate(self) -> None:
        """Raise UserError for the first value that cannot work."""
        super().validate()
        self.data_size.validate()
        if self.device != THIS and self.device not in DEVICES:
            raise UserError(f"device ({self.device}) must be {THIS}, or one of {', '.join(DEVICES)}")
        if not 1 <= self.gpus <= _MOST_GPUS:
            raise UserError(f"gpus ({self.gpus}) must be at least 1 and at most {_MOST_GPUS:,}")
        if self.gpus_per_machine < 1:
            raise UserError(f"gpus_per_machine ({self.gpus_per_machine}) must be at least 1")
        if not 0 < self.network_gb_per_s < math.inf:
            raise UserError(f"network_gb_per_s ({self.network_gb_per_s}) must be above 0: try network_gb_per_s=50")
        if self.mfu is not None and not 0 < self.mfu <= 1:
            raise UserError(f"mfu ({self.mfu}) must be above 0 and at most 1; null foretells it")
        if self.price_per_gpu_hour is not None and not 0 <= self.price_per_gpu_hour < math.inf:
            raise UserError(
                f"price_per_gpu_hour ({self.price_per_gpu_hour}) must be 0 or more; null says nothing of cost"
            )
        if self.measure < 0:
            raise UserError(f"measure ({self.measure}) must be 0 or more updates")
        if self.measure and (self.device != THIS or self.gpus != 1):
            raise UserError(f"measure ({self.measure}) must go with device=this and gpus=1, for here it would be done")
