"""Training: AdamW with warm-up and a cosine, on one process or many, resumed to the same bits."""

from kvgpt.train.loop import Trained, train
from kvgpt.train.origin import converted, fresh
from kvgpt.train.run import Run

__all__ = ["Run", "Trained", "converted", "fresh", "train"]
