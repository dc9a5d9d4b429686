"""How fast portraits are drawn: portraits a second at 128 px on one thread, the best of three.

Run it from the checkout: ``.venv/bin/python -m benchmarks.portraits``. It counts the process's own time,
so that other work on the machine matters less.
"""

import time

import torch

from amtgan_lib import portraits


def portraits_a_second(size: int = 128, count: int = 32, repeats: int = 3) -> float:
    """Draw ``count`` different people in makeup, ``repeats`` times; the best rate."""
    numbers = range(count)
    who, worn, moments = portraits.people(numbers), portraits.makeups(numbers), portraits.scenes(numbers)
    portraits.draw(who[:2], worn[:2], moments[:2], size)  # the first call pays for what is loaded then
    seconds = []
    for _ in range(repeats):
        begin = time.process_time()
        portraits.draw(who, worn, moments, size)
        seconds.append(time.process_time() - begin)
    return count / min(seconds)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(f"{portraits_a_second():.1f} portraits a second at 128 px on one thread")
