"""What is remembered of something large: by identity, after one comparison."""

from dataclasses import dataclass
from typing import ClassVar

from controller.core.newest import Newest


@dataclass(frozen=True, eq=False)
class Large:
    content: int
    compared: ClassVar[list[int]] = []

    def __eq__(self, other: object) -> bool:
        Large.compared.append(self.content)
        return isinstance(other, Large) and self.content == other.content

    def __hash__(self) -> int:
        return 7


def test_the_same_is_never_looked_into_and_an_equal_one_once() -> None:
    made: list[int] = []

    def make(one: Large) -> list[int]:
        made.append(one.content)
        return [one.content]

    remembered = Newest(make, 3)
    first, equal = Large(1), Large(1)
    answer = remembered(first)
    assert [remembered(first) is answer for _ in range(5)] == [True] * 5
    assert Large.compared == []
    assert [remembered(equal) is answer for _ in range(5)] == [True] * 5
    assert (made, len(Large.compared)) == ([1], 1)


def test_the_oldest_is_forgotten() -> None:
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        return number

    remembered = Newest(make, 2)
    assert [remembered(number) for number in (1, 2, 1, 3, 2, 3, 1)] == [1, 2, 1, 3, 2, 3, 1]
    assert made == [1, 2, 3, 1]
