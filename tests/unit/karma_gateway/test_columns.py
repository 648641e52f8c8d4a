"""Types of columns: declared ones are held against every row, others are those of all rows."""

from __future__ import annotations

from typing import Any

import pytest

from karma.errors import SettingsError
from karma_gateway.exports.columns import Observed, hold

TYPES = {"text": "string", "share": "float64", "count": "int64", "turns": [{"role": "string", "name?": "string"}]}


def observed(*values: Any) -> Observed:
    made = Observed()
    for value in values:
        made.add(value)
    return made


def test_a_row_gets_all_declared_columns_in_their_order_and_decimal_numbers() -> None:
    held = hold({"turns": [{"role": "user"}, {"role": "tool", "name": "x"}], "share": 1}, TYPES)
    assert list(held.items()) == [
        ("text", None),
        ("share", 1.0),
        ("count", None),
        ("turns", [{"role": "user"}, {"role": "tool", "name": "x"}]),
    ]
    assert isinstance(held["share"], float)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"count": 0.7}, "declares count as int64, but a row has 0.7"),
        ({"count": True}, "declares count as int64, but a row has True"),
        ({"text": 7}, "declares text as string, but a row has 7"),
        ({"share": 2**60 + 1}, "declares share as float64, but a row has 1152921504606846977"),
        ({"turns": "x"}, "declares turns as list"),
        ({"turns": [{"role": "user", "tone": "x"}]}, r"does not declare turns\[\].tone"),
        ({"more": 1}, "does not declare more"),
    ],
)
def test_a_value_that_its_type_cannot_keep_is_an_error_and_never_cut(row: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        hold(row, TYPES)


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        ([None, None], "null"),
        ([None, 1, None], "int64"),
        ([1, 0.7], "float64"),
        (["2024-01-01", "007"], "string"),
        (["2024-01-01T10:00:00Z"], "string"),
        ([True], "bool"),
        ([[], [1]], ["int64"]),
        ([{"a": 1}, {"b": None}], {"a": "int64", "b": "null"}),
    ],
)
def test_the_inferred_type_is_that_of_all_values(values: list[Any], type_: Any) -> None:
    assert observed(*values).inferred() == type_


@pytest.mark.parametrize("values", [["x", 1], [1, True], [{"a": 1}, "x"], [b"x"], [[1, "x"]]])
def test_values_that_have_no_type_together_are_an_error(values: list[Any]) -> None:
    with pytest.raises(SettingsError, match="values of different types"):
        observed(*values).inferred()


@pytest.mark.parametrize(
    ("values", "widens"),
    [
        ([None, "a", None, "b"], [False, True, False, False]),
        ([1, 2, 0.5, 3], [True, False, True, False]),
        (["2024-01-01", "2024-01-02", "no date", "2024-01-03"], [True, False, True, False]),
        ([{"a": 1}, {"a": 2}, {"a": 3, "b": 4}, {"a": 5}], [True, False, True, False]),
        ([{"a": 1, "b": 2}, {"a": 3}, {"a": 4}], [True, True, False]),
        ([[], [1], [[]]], [True, True, True]),
    ],
)
def test_a_row_widens_the_type_where_no_row_before_shows_as_much(values: list[Any], widens: list[bool]) -> None:
    made = Observed()
    assert [made.add(value) for value in values] == widens


def test_the_rows_that_widen_the_type_have_the_type_of_all_rows() -> None:
    rows = [{"a": None, "b": [{"c": 1}]}, {"a": "x", "b": []}, {"a": "y", "b": [{"c": 0.5, "d": "2024-01-01"}]}]
    made = Observed()
    assert observed(*(row for row in rows if made.add(row))) == observed(*rows)


def test_columns_of_dates_only_are_named() -> None:
    rows = [{"a": "2024-01-01", "b": "2024-01-01", "c": [{"d": "2024-01-01 10:30"}]}, {"a": None, "b": "x", "c": []}]
    assert observed(*rows).dates() == ["a", "c.d"]


def test_an_optional_field_is_in_the_type_where_a_row_has_it() -> None:
    role = {"role": "user"}
    assert observed({"turns": [role]}).declared(TYPES)["turns"] == [{"role": "string"}]  # type: ignore[call-overload]
    with_name = observed({"turns": [role | {"name": "x"}]}).declared(TYPES)
    assert with_name["turns"] == [{"role": "string", "name": "string"}]  # type: ignore[call-overload]


def test_objects_that_are_all_empty_have_no_type() -> None:
    observed = Observed()
    observed.add({"empty": {}})

    with pytest.raises(SettingsError, match="empty: every object in it is empty"):
        observed.inferred()
