"""Ships what is paid: shipping.py BOOTSTRAP INSTANCE. See README.md."""

import sys

from service import Service


def decide(payment):
    if payment["status"] != "paid":
        return []
    return [("shipments", payment["customer"], {"order": payment["order"], "to": payment["customer"]})]


if __name__ == "__main__":
    bootstrap, instance = sys.argv[1:]
    Service(bootstrap, "shipping", instance, "payments", decide).run()
