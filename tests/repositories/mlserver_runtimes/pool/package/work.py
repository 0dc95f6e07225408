import time


def work(number: int) -> int:
    time.sleep(0.01)
    return number + 1
