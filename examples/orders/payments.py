"""Takes the money for orders: payments.py BOOTSTRAP INSTANCE. See README.md."""

import sys

from service import Service

LIMIT = 900  # what a card is good for


def decide(order):
    status = "paid" if order["amount"] <= LIMIT else "refused"
    return [("payments", order["customer"], {**order, "status": status})]


if __name__ == "__main__":
    bootstrap, instance = sys.argv[1:]
    Service(bootstrap, "payments", instance, "orders", decide).run()
