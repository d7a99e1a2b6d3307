"""Items are found by the values of their columns, several in a cell among them."""

import numpy as np
import pandas as pd
import pytest

from tsrec.serving.column_values import ColumnValues

ITEMS = pd.DataFrame(
    {
        "item_id": ["1", "2", "3", "4"],
        "categories": ["Comedy, Drama", "Drama", "", None],
        "colours": [np.array(["red", "blue"]), np.array(["red"]), None, np.array([])],
        "price": [1.5, 2.0, 1.5, float("nan")],
        "story": ["a" * 100, "a" * 100, "c", "d"],
    }
)


@pytest.mark.parametrize(
    ("column", "value", "items"),
    [
        ("categories", "Drama", [0, 1]),
        ("categories", "Comedy", [0]),
        ("categories", "Comedy, Drama", [0]),
        ("categories", "", []),
        ("colours", "red", [0, 1]),
        ("price", "1.5", [0, 2]),
        ("price", "nan", []),
        ("categories", "drama", []),
    ],
)
def test_items_of_a_value(column: str, value: str, items: list[int]) -> None:
    assert ColumnValues(ITEMS, ("item_id",)).items(column, value).tolist() == items


def test_what_can_be_chosen_is_shared_and_short() -> None:
    choices = {choice["column"]: choice for choice in ColumnValues(ITEMS, ("item_id",)).choices}
    assert list(choices) == ["categories", "colours", "price"]
    assert choices["categories"] == {
        "column": "categories",
        "n_values": 2,
        "values": [{"value": "Drama", "n_items": 2}],
    }


def test_a_column_that_is_not_there() -> None:
    for column in ("item_id", "colour"):
        with pytest.raises(KeyError):
            ColumnValues(ITEMS, ("item_id",)).items(column, "1")
