"""A language model small enough to be made, taught and tuned within a test; nothing is downloaded.

Needs the extra `train`; ask for it by the fixture `tiny_model`.
"""

from pathlib import Path

from gateway.tuning.worker.tiny import Sizes, make_tiny
from tests.fakes.trainers import QUESTIONS

SIZES = Sizes(context=256, words=400, width=64, steps=200)


def save_tiny_model(folder: Path) -> Path:
    texts = [f"{asked} {answer}" for asked, answer in QUESTIONS.items()]
    return make_tiny(folder, list(QUESTIONS), texts, sizes=SIZES)
