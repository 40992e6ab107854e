"""Following a task until it ends, or until it needs a person."""

from collections.abc import Callable, Iterator

from grace_cli.client import Gateway
from grace_cli.display import Display
from grace_cli.story import Story
from grace_cli.stream import follow


def task_story(gateway: Gateway, task_id: str) -> Story:
    """Return a task as it stands."""
    return Story.of_view(gateway.get(f"/api/tasks/{task_id}"))


def watch(
    gateway: Gateway, story: Story, display: Display, until: Callable[[Story], bool] = lambda story: story.has_ended
) -> Story:
    """Take in and show a task's facts until it ended, or `until` holds; return the same story."""
    if until(story) or story.has_ended:
        return story
    for _ in news(gateway, story, display):
        if until(story) or story.has_ended:
            break
    return story


def news(gateway: Gateway, story: Story, display: Display) -> Iterator[str]:
    """Yield the name of each new fact once the story has taken it in and the display has shown it."""
    for fact in follow(gateway.access, story.task_id, story.newest):
        name = story.apply(fact)
        if name is not None:
            display.show(story, name, fact)
            yield name


def needs_person(story: Story) -> bool:
    """Whether nothing more happens without guidance or approval."""
    return story.waiting_for is not None
