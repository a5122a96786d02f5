// Runs checks of roslib in Node: roslib_node.mjs CHECK URL [TOKEN]. Prints their observations.

import * as ROSLIB from "roslib";

import * as checks from "./roslib_checks.mjs";

const [check, url, token] = process.argv.slice(2);
console.log(JSON.stringify(await checks[check](ROSLIB, url, token)));
process.exit(0);
