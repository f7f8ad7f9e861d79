"""Synthetic overhead scenes with instance masks, drawn from a seed.

``make_scene`` is the door; the modules are the layers of a scene from the
ground up: ``noise`` and ``paint`` (the brush), ``climate`` (colours),
``ground``, ``town`` (the plan), ``layout`` (streets), ``blocks`` (what stands
between them), ``roofs``, ``vehicles``, ``plants``, ``clutter``, ``sensor``.
"""

from research.training.scenes.scene import BUILDING, CONTAINER, POOL, TREE, VEHICLE, Scene, make_scene

__all__ = ["BUILDING", "CONTAINER", "POOL", "TREE", "VEHICLE", "Scene", "make_scene"]
