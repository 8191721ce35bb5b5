# What readers that are not ours make of a report: `python consume.py html|junit|kcidb|ktap FILE [DIR]` prints it as JSON.
# DIR has the kernel's tools/testing/kunit.

import io
import json
import sys


def junit(path):
    from junitparser import JUnitXml

    cases = []
    for suite in JUnitXml.fromfile(path):
        for case in suite:
            results = [[type(it).__name__, it.message, it.type, it.text] for it in case.result]
            # It has a word for those of a suite alone.
            properties = {it.get("name"): it.get("value") for it in case._elem.iterfind("properties/property")}
            cases.append({"suite": suite.name, "class": case.classname, "name": case.name, "time": case.time,
                          "results": results, "properties": properties, "out": case.system_out})
    all = JUnitXml.fromfile(path)
    return {"cases": cases, "counts": [all.tests, all.failures, all.errors, all.skipped]}


def kcidb(path):
    from kcidb_io.schema import V5_3
    import jsonschema

    with open(path, encoding="utf-8") as file:
        data = json.load(file)
    # Formats (date-time, uri) and all; then whether what is named is there.
    jsonschema.validate(data, V5_3.json, format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER)
    V5_3.validate_exactly(data)
    checkouts = {it["id"] for it in data["checkouts"]}
    builds = {it["id"] for it in data["builds"]}
    return {
        "lost": [it["id"] for it in data["builds"] if it["checkout_id"] not in checkouts]
        + [it["id"] for it in data["tests"] if it["build_id"] not in builds],
        "twice": [len(data[kind]) - len({it["id"] for it in data[kind]}) for kind in ("checkouts", "builds", "tests")],
        "tests": {it["path"]: it["status"] for it in data["tests"]},
    }


def ktap(path, tools):
    sys.path.insert(0, tools)
    import inspect
    import kunit_parser
    import kunit_printer

    told = io.StringIO()
    printer = kunit_printer.Printer(output=told)
    kunit_printer.stdout = kunit_parser.stdout = printer
    with open(path, encoding="utf-8", newline="\n") as file:
        lines = file.read().split("\n")[:-1]
    # Older ones have a printer of their own.
    own = [printer] if "printer" in inspect.signature(kunit_parser.parse_run_tests).parameters else []
    main = kunit_parser.parse_run_tests(lines, *own)

    def tree(test):
        return {"name": test.name, "status": test.status.name, "errors": test.counts.errors,
                "subtests": [tree(it) for it in test.subtests]}

    return {"tree": tree(main), "told": told.getvalue()}


def html(path):
    import html5lib

    with open(path, encoding="utf-8", newline="") as file:
        text = file.read()
    # It ends at what is no HTML as the standard has it.
    tree = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)
    ids = [it.get("id") for it in tree.iter() if it.get("id")]
    links = [it.get("href") for it in tree.iter("a")]
    cells = {}
    for it in tree.iter("details"):
        if it.get("class") == "cell":
            cells[it.find("summary/b").text] = it.get("data-v")
    named = {it.tag for it in tree.iter() if isinstance(it.tag, str)}
    return {
        "cells": cells,
        "lost": [it for it in links if it[:1] != "#" or it[1:] not in ids],
        "twice": sorted({it for it in ids if ids.count(it) > 1}),
        "scripts": len(list(tree.iter("script"))),
        # What would be fetched.
        "fetched": sorted(named & {"img", "iframe", "object", "embed", "audio", "video", "base"})
        + [it.get("href") for it in tree.iter("link") if it.get("href") != "data:,"],
        "text": " ".join("".join(tree.find("body/main").itertext()).split()),
    }


if __name__ == "__main__":
    json.dump({"html": html, "junit": junit, "kcidb": kcidb, "ktap": ktap}[sys.argv[1]](*sys.argv[2:]), sys.stdout)
