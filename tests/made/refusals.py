"""What a person is told who gave something that is no good."""

import pytest

from deeptwins.errors import InputError


def refused(function, *arguments):
    """Call a function that refuses its arguments; return why, which is one line."""
    with pytest.raises(InputError) as error:
        function(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)
