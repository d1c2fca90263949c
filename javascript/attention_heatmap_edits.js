// The viewer's changes of a prompt: which word shall weigh what, and which is gone, written into the text. Knows no page.
//
// It cannot read a prompt. What a change needs is in the frames that daam/rewriting/frames.py made of it: where brackets
// go, what is around them, how the text reads without a word. attentionHeatmap.render(base, frames, state) is a pure
// function to {prompt, places}, where `state` is a Map from a word's number to {weight, isGone}; it throws a
// RewritingError, whose message is for people, where the frames do not allow a change. PromptEdits keeps the states.
// Places and spans are [start, end) and count Unicode code points.

(function () {
    "use strict";

    const SHARED = (globalThis.attentionHeatmap = globalThis.attentionHeatmap || {});
    const LARGEST_WEIGHT = 1000;
    const LARGEST_NUMBER = 1000000;
    const SAME = 1e-6;
    const LETTER = /[\p{L}\p{N}]/u;
    const BLANK = /^\s*$/u;
    const PLAIN = /^(?:\\[\\()[\]]|[^\\()[\]:|<>])+$/u; // may stand in brackets with its neighbours
    const SYNTAX = /[()[\]\\:|<>#&]|\b(?:AND|BREAK)\b/u;
    const NUMBER_AT_END = /:\s*[-+.\deE]*\s*$/u;

    class RewritingError extends Error {}

    // ---- Numbers, as in daam/rewriting/numbers.py

    const rounded = (value) => Math.floor(value * 100 + 0.5) / 100;

    /** What to write into a bracket that stands in others, so that all together give the weight. */
    function numberFor(weight, outer) {
        if (Math.abs(outer) * LARGEST_NUMBER < Math.abs(weight) || outer === 0) {
            if (weight === 0) {
                return "1";
            }
            throw new RewritingError(`the brackets around this word have weight ${outer}; change them first`);
        }
        for (const decimals of [2, 3, 4, 5, 6]) {
            const units = Math.floor((weight / outer) * 10 ** decimals + 0.5);
            if (Math.abs((units / 10 ** decimals) * outer - weight) < 0.0045) {
                return writtenNumber(units, decimals);
            }
        }
        throw new RewritingError(`the brackets around this word have weight ${outer}; no number of 6 decimals fits`);
    }

    function writtenNumber(units, decimals) {
        const digits = String(Math.abs(units)).padStart(decimals + 1, "0");
        const number = `${digits.slice(0, -decimals)}.${digits.slice(-decimals)}`.replace(/0+$/u, "").replace(/\.$/u, "");
        return units < 0 ? `-${number}` : number;
    }

    // ---- From a state to a text

    class Rendering {
        constructor(base, frames, state) {
            this.letters = Array.from(base);
            this.frames = frames;
            this.state = this.withoutOverlaps(state);
            this.all = [...frames.brackets, ...frames.words];
        }

        text(start, end) {
            return this.letters.slice(start, end).join("");
        }

        nameOf(frame) {
            return `“${this.text(...frame.span)}”`;
        }

        isGone(word) {
            return Boolean(this.state.get(word)?.isGone);
        }

        run() {
            const cuts = this.cuts();
            const groups = this.groups(cuts);
            this.checkGlued(groups);
            const edits = [...cuts, ...groups.flatMap((group) => this.editsOf(group))];
            edits.sort((one, other) => one.start - other.start || one.end - other.end);
            return this.written(edits);
        }

        /** A word that goes through a schedule shares letters with others: only the same can be done to them. */
        withoutOverlaps(state) {
            const words = [...state.keys()].map((word) => this.frames.words[word]);
            words.sort((one, other) => one.span[0] - other.span[0] || other.span[1] - one.span[1]);
            const kept = new Map();
            let last = null;
            for (const frame of words) {
                const [change, before] = [state.get(frame.words[0]), last && state.get(last.words[0])];
                if (!last || frame.span[0] >= last.span[1]) {
                    kept.set(frame.words[0], change);
                    last = frame;
                } else if (frame.span[1] > last.span[1] || change.weight !== before.weight || change.isGone !== before.isGone) {
                    throw new RewritingError(`${this.nameOf(frame)} shares letters with ${this.nameOf(last)}, which was changed.`);
                }
            }
            return kept;
        }

        /** The frames that do for the words of which `fits` holds: those of whole brackets, and of single words. */
        choose(fits, whyNot) {
            const done = new Set();
            return this.all.filter((frame) => {
                if (frame.words.some((word) => done.has(word)) || !fits(frame.words)) {
                    return false;
                }
                if (frame[whyNot] && frame.words.length > 1) {
                    return false;
                }
                if (frame[whyNot]) {
                    throw new RewritingError(frame[whyNot]);
                }
                frame.words.forEach((word) => done.add(word));
                return true;
            });
        }

        // -- What goes

        cuts() {
            const isComma = (word) => this.text(...this.frames.words[word].span) === ",";
            const fits = (words) => words.every((word) => this.isGone(word) || (words.length > 1 && isComma(word))) && words.some((word) => this.isGone(word));
            const frames = this.choose(fits, "why_stays").sort((one, other) => one.core[0] - other.core[0]);
            const runs = [];
            for (const frame of frames) {
                const last = runs.at(-1)?.at(-1);
                if (last && last.container === frame.container && /^[\s,]*$/u.test(this.text(last.core[1], frame.core[0]))) {
                    runs.at(-1).push(frame);
                } else {
                    runs.push([frame]);
                }
            }
            return runs.map((run) => this.cutOf(run));
        }

        cutOf(run) {
            const [{remove, room}] = run;
            const common = {room, source: run.length > 1 ? null : run[0], isCut: true};
            if (run.length === 1 && remove) {
                return {start: remove[0], end: remove[1], text: remove[2], ...common};
            }
            const [first, last] = [run[0].core[0], run.at(-1).core[1]];
            const {start, end} = this.tidy(first, last, room);
            const isInside = room[0] < start && end < room[1] && ![this.letters[start - 1], this.letters[end]].some((each) => BLANK.test(each));
            return {start, end, text: isInside ? " " : "", ...common};
        }

        /** [first, end) with a comma and blanks beside it, so that one of each is left between the neighbours. */
        tidy(first, last, [start, end]) {
            const before = (place) => {
                while (place > start && BLANK.test(this.letters[place - 1])) {
                    place--;
                }
                return place;
            };
            const after = (place) => {
                while (place < end && BLANK.test(this.letters[place])) {
                    place++;
                }
                return place;
            };
            const [left, right] = [before(first), after(last)];
            const isAfterComma = left > start && this.letters[left - 1] === ",";
            const isBeforeComma = right < end && this.letters[right] === ",";
            const keepsLine = (from, to) => left < first && this.letters.slice(from, to).includes("\n");
            if (isBeforeComma && (isAfterComma || left === start)) {
                const behind = after(right + 1);
                return keepsLine(right, behind) ? {start: left, end: right + 1} : {start: first, end: behind};
            }
            if (isBeforeComma) {
                return {start: left, end: last};
            }
            if (right === end) {
                return {start: isAfterComma ? before(left - 1) : left, end: last};
            }
            if (left === start || (left < first && right > last)) {
                return keepsLine(last, right) && left !== start ? {start: left, end: last} : {start: first, end: right};
            }
            return {start: first, end: last};
        }

        // -- What gets another weight

        /** Neighbours of one weight, each to be put into one pair of brackets. */
        groups(cuts) {
            const targets = this.frames.words.map((_, word) => (this.isGone(word) ? undefined : this.state.get(word)?.weight));
            const isIn = ({start, end}) => cuts.some((cut) => cut.start <= start && end <= cut.end);
            const wanted = (words) => words.map((word) => targets[word]).find((target) => target !== undefined);
            const fits = (words) => wanted(words) !== undefined && words.every((word) => targets[word] === wanted(words) || this.isGone(word));
            const places = this.choose(fits, "why_not").flatMap((frame) => frame.places.map((place) => ({
                ...place, source: frame, last: frame, target: wanted(frame.words), words: frame.words, keepsOnes: frame.keeps_ones,
                isPlain: PLAIN.test(this.textWithout(place)),
            })));
            const groups = [];
            for (const place of places.filter((each) => !isIn(each)).sort((one, other) => one.start - other.start)) {
                const last = groups.at(-1);
                if (last && this.canShare(last, place)) {
                    const strip = [...last.strip, ...place.strip];
                    const keepsOnes = last.keepsOnes || place.keepsOnes;
                    groups[groups.length - 1] = {...last, end: place.end, strip, keepsOnes, last: place.last, words: [...last.words, ...place.words]};
                } else {
                    groups.push(place);
                }
            }
            return groups.map((group) => this.withNumber(group));
        }

        canShare(one, other) {
            const isAlike = one.container === other.container && one.outer === other.outer && one.target === other.target;
            return isAlike && one.isPlain && other.isPlain && BLANK.test(this.text(one.end, other.start));
        }

        textWithout({start, end, strip}) {
            const isStripped = (place) => strip.some(([from, to]) => from <= place && place < to);
            return this.letters.slice(start, end).filter((_, at) => !isStripped(start + at)).join("");
        }

        withNumber(group) {
            const number = numberFor(group.target, group.outer);
            return {...group, number, weight: Number(number) * group.outer, isNeeded: number !== "1" || (group.keepsOnes && group.strip.length > 0)};
        }

        editsOf({start, end, strip, number, isNeeded, source, last}) {
            const stripped = strip.map(([from, to]) => ({start: from, end: to, text: "", source}));
            const [open, close] = [{start, end: start, text: "(", source}, {start: end, end, text: `:${number})`, source: last}];
            return isNeeded ? [open, ...stripped, close] : stripped;
        }

        /** Words without a blank between them become one as soon as they weigh the same. */
        checkGlued(groups) {
            const weights = new Map(groups.flatMap((group) => group.words.map((word) => [word, group.weight])));
            const weightOf = (word) => weights.get(word) ?? this.frames.words[word].weight;
            for (const [one, other] of this.frames.glued) {
                const isNew = weights.has(one) || weights.has(other);
                if (isNew && !this.isGone(one) && !this.isGone(other) && Math.abs(weightOf(one) - weightOf(other)) < SAME) {
                    const [first, second] = [one, other].map((word) => this.nameOf(this.frames.words[word]));
                    throw new RewritingError(`${first} and ${second} would become one word. Put a blank between them`);
                }
            }
        }

        // -- The text

        written(edits) {
            const pieces = [];
            const places = [];
            const seams = [];
            let seam = null;
            let [length, done] = [0, 0];
            for (const edit of [...edits, {start: this.letters.length, end: this.letters.length, text: "", isEnd: true}]) {
                if (edit.start > done) {
                    seam = null;
                }
                for (; done < edit.start; done++) {
                    pieces.push(this.letters[done]);
                    places.push(length++);
                }
                if (!edit.isEnd) {
                    if (!seam) {
                        seam = {from: length, edits: []};
                        seams.push(seam);
                    }
                    seam.edits.push(edit);
                    pieces.push(...Array.from(edit.text));
                    length += Array.from(edit.text).length;
                    seam.to = length;
                    for (; done < edit.end; done++) {
                        places.push(null);
                    }
                }
            }
            seams.forEach((each) => this.checkSeam(pieces, each));
            return {prompt: pieces.join(""), places};
        }

        /** Where words go beside others that change, what meets was not read together when the frames were made. */
        checkSeam(pieces, {from, to, edits}) {
            const [first, last] = [edits[0], edits.at(-1)];
            const isOfOneWord = first.source && edits.every((edit) => edit.source === first.source);
            if (isOfOneWord || !edits.some((edit) => edit.isCut)) {
                return;
            }
            const [before, within, after] = [pieces.slice(0, from), pieces.slice(from, to), pieces.slice(to)].map((each) => each.join(""));
            const isStart = edits.some(({room}) => room && room[0] <= first.start && BLANK.test(this.text(room[0], first.start)));
            const isEnd = edits.some(({room}) => room && last.end <= room[1] && BLANK.test(this.text(last.end, room[1])));
            const isSafe = (isStart || !/[:<|\\]\s*$/u.test(before)) && (isEnd || !/^\s*[:>|]/u.test(after)) && (isStart || !NUMBER_AT_END.test(before));
            const isParted = isStart || isEnd || /[\s,]$/u.test(before + within) || /^[\s,]/u.test(within + after);
            if (!isSafe || !isParted) {
                throw new RewritingError("These changes touch each other, and cannot be written together. Edit the prompt by hand");
            }
        }
    }

    const render = (base, frames, state) => new Rendering(base, frames, state).run();

    // ---- Frames of a text that the user typed, where nobody is at hand who can read it

    /** Of words in a text without any syntax: each weighs 1, and all stand side by side. Null where there is syntax. */
    function plainFrames(text, spans) {
        if (SYNTAX.test(text)) {
            return null;
        }
        const room = [0, Array.from(text).length];
        const words = spans.map(([start, end], number) => ({
            words: [number], span: [start, end], weight: 1, is_named: true, why_not: null, why_stays: null, keeps_ones: false,
            places: [{start, end, outer: 1, strip: [], container: 0}], remove: null, core: [start, end], room, container: 0,
        }));
        return {words, brackets: [], glued: []};
    }

    // ---- The states of a prompt

    class PromptEdits {
        /** Words are named by their spans in this prompt, as the chips have them. */
        constructor(prompt, frames) {
            this.original = {prompt, frames};
            this.retype(prompt);
        }

        /** Goes on from a text that the user typed; changes so far are part of it and cannot be undone any more. */
        retype(prompt, frames = null) {
            this.base = prompt;
            this.frames = frames || (prompt === this.original.prompt ? this.original.frames : null);
            this.states = [new Map()];
            this.prompt = prompt;
        }

        /** Without anybody to read what was typed: its words can be changed if there is nothing in it but words. */
        makeDo() {
            const spans = this.original.frames.words.map((frame) => frame.span).filter((span) => /^\p{L}+$/u.test(this.typed(span)));
            const found = spans.map((span) => this.spanInBase(span)).filter((span) => span !== null);
            this.frames = this.frames || plainFrames(this.base, found);
        }

        get state() {
            return this.states.at(-1);
        }

        get canUndo() {
            return this.states.length > 1;
        }

        undo() {
            this.states.pop();
            this.prompt = render(this.base, this.frames, this.state).prompt;
        }

        /** Makes the weight of neighbouring words so much larger or smaller, but not below 0. */
        changeWeight(spans, by) {
            const words = this.withoutLoneSigns(this.present(spans));
            const weight = Math.min(...words.map((word) => this.weightOfWord(word)));
            if (weight + by < -1e-9) {
                throw new RewritingError(`“${this.typed(phrase(spans))}” has weight ${weight} already.`);
            }
            this.add(words.map((word) => [word, {weight: checked(rounded(this.weightOfWord(word) + by))}]));
        }

        remove(spans) {
            this.add(this.present(spans).map((word) => [word, {isGone: true}]));
        }

        /** Puts removed words back, with what else was changed of them before. */
        restore(spans) {
            this.add(spans.map((span) => [this.find(span), {isGone: false}]));
        }

        isRemoved(span) {
            const word = this.numberOf(span);
            return word !== null && Boolean(this.state.get(word)?.isGone);
        }

        weightOf(span) {
            const [word] = this.present([span]);
            return this.weightOfWord(word);
        }

        weightOfWord(word) {
            const weight = this.state.get(word)?.weight ?? this.frames.words[word].weight;
            if (weight === null) {
                throw new RewritingError(`“${this.typed(this.frames.words[word].span)}” has letters of several weights.`);
            }
            return weight;
        }

        /** A comma between words of different weights keeps its own. */
        withoutLoneSigns(words) {
            const runs = [];
            for (const word of words) {
                if (runs.length > 0 && this.weightOfWord(runs.at(-1)[0]) === this.weightOfWord(word)) {
                    runs.at(-1).push(word);
                } else {
                    runs.push([word]);
                }
            }
            const named = runs.filter((run) => run.some((word) => this.frames.words[word].is_named));
            return (named.length > 0 ? named : runs).flat();
        }

        /** A new state, if it can be written. */
        add(changes) {
            const state = new Map(this.state);
            for (const [word, change] of changes) {
                const next = {...state.get(word), ...change};
                if (next.weight !== undefined && Math.abs(next.weight - this.frames.words[word].weight) < SAME) {
                    delete next.weight;
                }
                if (next.weight === undefined && !next.isGone) {
                    state.delete(word);
                } else {
                    state.set(word, next);
                }
            }
            this.prompt = render(this.base, this.frames, state).prompt;
            this.states.push(state);
        }

        typed([start, end]) {
            return Array.from(this.original.prompt).slice(start, end).join("");
        }

        /** The words that are not removed, at least one. */
        present(spans) {
            const words = spans.map((span) => this.find(span)).filter((word) => !this.state.get(word)?.isGone);
            if (words.length === 0) {
                throw new RewritingError(`“${this.typed(phrase(spans))}” is not in the prompt any more.`);
            }
            return words;
        }

        find(span) {
            const isThere = this.spanInBase(span) !== null;
            if (isThere && !this.frames) {
                throw new RewritingError("What was typed cannot be read here. Put the picture's prompt back to change its words.");
            }
            const word = this.numberOf(span);
            if (word === null) {
                throw new RewritingError(`“${this.typed(span)}” is not in the prompt any more.`);
            }
            return word;
        }

        /** The number of a word's frame. */
        numberOf(span) {
            const place = this.spanInBase(span);
            const number = place && this.frames ? this.frames.words.findIndex((frame) => String(frame.span) === String(place)) : -1;
            return number < 0 ? null : number;
        }

        /** In a prompt that was typed anew: the same occurrence of the same text. */
        spanInBase(span) {
            if (this.base === this.original.prompt) {
                return span;
            }
            const typed = this.typed(span);
            const number = placesOf(this.original.prompt, typed).indexOf(span[0]);
            const place = placesOf(this.base, typed)[number];
            return place === undefined ? null : [place, place + Array.from(typed).length];
        }
    }

    const phrase = (spans) => [spans[0][0], spans.at(-1)[1]];

    function checked(weight) {
        if (Math.abs(weight) > LARGEST_WEIGHT) {
            throw new RewritingError(`weight: expected a number from -${LARGEST_WEIGHT} to ${LARGEST_WEIGHT}, got ${weight}`);
        }
        return weight;
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

    Object.assign(SHARED, {PromptEdits, RewritingError, render});
    if (typeof module !== "undefined") {
        module.exports = {PromptEdits, RewritingError, render};
    }
})();
