"""Datasets: scans, rendered characters, image folders."""

from lspsim.models.data.image_set import SPLITS, ImageSet
from lspsim.models.data.load import DATASETS, load_dataset

__all__ = ["DATASETS", "SPLITS", "ImageSet", "load_dataset"]
