"""The whole configuration: every section, and the rules that span them."""

from typing import Self

from pydantic import model_validator

from tsrec.config.rules import broken_rules
from tsrec.config.sections import Sections


class Config(Sections):
    """One run of the pipeline. The defaults are the demo: MovieLens-100K, no key, no model hub, no GPU."""

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        if broken := broken_rules(self):
            raise ValueError("\n".join(broken))
        return self
