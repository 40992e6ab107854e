"""How deep a JSON value is nested."""


def deeper_than(value: object, limit: int) -> bool:
    """Return whether a JSON value has more than `limit` levels of objects and lists."""
    level = [value]
    for _ in range(limit):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return any(isinstance(item, dict | list) for item in level)
