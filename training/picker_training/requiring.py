"""What the values of a configuration have to be."""


def require(good: object, problem: str) -> None:
    """Refuse a value.

    Raises:
        ValueError: with the problem, unless the value is good.
    """
    if not good:
        raise ValueError(problem)
