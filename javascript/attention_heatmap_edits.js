// The changes that the viewer made to a prompt, in order, so that each can be taken back by itself. Knows no page.
//
// new attentionHeatmap.PromptEdits(prompt): words are named by their spans in this prompt, as the chips have them.

(function () {
    "use strict";

    const SHARED = (globalThis.attentionHeatmap = globalThis.attentionHeatmap || {});
    if (typeof module !== "undefined") {
        require("./attention_heatmap_emphasis.js");
    }
    // SHARED.emphasis is looked up when it is used: the WebUI loads it after this file

    const LETTER = /[\p{L}\p{N}]/u;

    class PromptEdits {
        constructor(prompt) {
            this.original = prompt;
            this.retype(prompt);
        }

        /** Goes on from a text that the user typed; changes so far are part of it and cannot be undone any more. */
        retype(prompt) {
            this.base = prompt;
            this.edits = [];
            this.replay();
        }

        get canUndo() {
            return this.edits.length > 0;
        }

        /** Makes the words' weight so much larger or smaller, but not below 0. */
        changeWeight(span, by) {
            const weight = this.weightOf(span);
            if (weight + by < -1e-9) {
                throw new SHARED.emphasis.RewritingError(`“${this.typed(span)}” has weight ${weight} already.`);
            }
            this.add({kind: "weight", span, by});
        }

        remove(span) {
            this.add({kind: "remove", span});
        }

        /** Puts removed words back, with what else was changed of them before. */
        restore(span) {
            this.edits = this.edits.filter((edit) => edit.kind !== "remove" || !overlap(edit.span, span));
            this.replay();
        }

        undo() {
            this.edits.pop();
            this.replay();
        }

        isRemoved(span) {
            return this.edits.some((edit) => edit.kind === "remove" && edit.span[0] <= span[0] && span[1] <= edit.span[1]);
        }

        weightOf(span) {
            return SHARED.emphasis.weightAt(this.prompt, this.find(span));
        }

        add(edit) {
            this.apply(edit);
            this.edits.push(edit);
        }

        replay() {
            this.prompt = this.base;
            this.places = Array.from(this.base, (_, place) => place);
            this.edits.forEach((edit) => this.apply(edit));
        }

        apply(edit) {
            const span = this.find(edit.span);
            const done = edit.kind === "remove" ? SHARED.emphasis.remove(this.prompt, span) : SHARED.emphasis.changeWeight(this.prompt, span, edit.by);
            this.places = SHARED.emphasis.thenPlaces(this.places, done.places);
            this.prompt = done.prompt;
        }

        typed([start, end]) {
            return Array.from(this.original).slice(start, end).join("");
        }

        /** Where words of the original prompt stand now. */
        find(span) {
            const places = this.spanInBase(span);
            const moved = places && this.places.slice(...places).filter((place) => place !== null);
            if (!moved || moved.length === 0) {
                throw new SHARED.emphasis.RewritingError(`“${this.typed(span)}” is not in the prompt any more.`);
            }
            return [moved[0], moved[moved.length - 1] + 1];
        }

        /** In a prompt that was typed anew: the same occurrence of the same text. */
        spanInBase(span) {
            if (this.base === this.original) {
                return span;
            }
            const typed = this.typed(span);
            const number = placesOf(this.original, typed).indexOf(span[0]);
            const place = placesOf(this.base, typed)[number];
            return place === undefined ? null : [place, place + Array.from(typed).length];
        }
    }

    /** Where a text stands as whole words, in code points. */
    function placesOf(prompt, typed) {
        const [letters, wanted] = [Array.from(prompt), Array.from(typed)];
        const isLetter = (letter) => letter !== undefined && LETTER.test(letter);
        const goesOn = (one, other) => isLetter(one) && isLetter(other);
        return letters.map((_, at) => at).filter((at) => {
            const end = at + wanted.length;
            const isThere = wanted.every((letter, number) => letters[at + number] === letter);
            return isThere && !goesOn(letters[at - 1], wanted[0]) && !goesOn(wanted[wanted.length - 1], letters[end]);
        });
    }

    function overlap(first, second) {
        return first[0] < second[1] && second[0] < first[1];
    }

    SHARED.PromptEdits = PromptEdits;
    if (typeof module !== "undefined") {
        module.exports = PromptEdits;
    }
})();
