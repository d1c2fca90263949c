// Renders cases {base, frames, state} from standard input, one JSON answer each: {prompt} or {error}.
"use strict";

const { readFileSync } = require("node:fs");
const { render, RewritingError } = require("../../javascript/attention_heatmap_edits.js");

function answer({ base, frames, state }) {
    try {
        return { prompt: render(base, frames, new Map(state)) };
    } catch (error) {
        if (error instanceof RewritingError) {
            return { error: error.message };
        }
        throw error;
    }
}

process.stdout.write(JSON.stringify(JSON.parse(readFileSync(0, "utf-8")).map(answer)));
