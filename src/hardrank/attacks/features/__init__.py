"""Attacks that change the numbers about an item: one attack per file."""

from typing import Annotated

from pydantic import Field

from hardrank.attacks.features.nes_features import NesFeatures
from hardrank.attacks.features.pgd_features import PgdFeatures
from hardrank.attacks.features.random_features import RandomFeatures

__all__ = ["FEATURE_ATTACKS", "FeatureAttack", "NesFeatures", "PgdFeatures", "RandomFeatures"]

FeatureAttack = Annotated[RandomFeatures | NesFeatures | PgdFeatures, Field(discriminator="kind")]
FEATURE_ATTACKS = (RandomFeatures, NesFeatures, PgdFeatures)
