// The viewer's changes of a prompt: which word shall weigh what, and which is gone, written into the text. Knows no page.
//
// It cannot read a prompt. What a change needs is in the frames that daam/rewriting/frames.py made of it: where brackets
// go, what is around them, how the text reads without a word. attentionHeatmap.render(base, frames, state) is a pure
// function to the text, where `state` is a Map from a word's number to {weight, isGone}; it throws a
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

    const isSame = (one, other) => Math.abs(one - other) < SAME;
    const isWord = (letter) => letter !== undefined && LETTER.test(letter);

    // ---- Numbers, as in daam/rewriting/numbers.py

    const rounded = (value) => Math.floor(value * 100 + 0.5) / 100;

    /** What to write into a bracket that stands in others, so that all together give the weight. */
    function numberFor(weight, outer) {
        const isWithin = Math.abs(weight) <= LARGEST_WEIGHT && outer !== 0 && Math.abs(outer) * LARGEST_NUMBER >= Math.abs(weight);
        for (const decimals of isWithin ? [2, 3, 4, 5, 6] : []) {
            const units = Math.floor((weight / outer) * 10 ** decimals + 0.5);
            if (Math.abs((units / 10 ** decimals) * outer - weight) < 0.0045) {
                return writtenNumber(units, decimals);
            }
        }
        if (weight === 0) {
            return "1";
        }
        throw new RewritingError(`the brackets around this word have weight ${outer}, so none of its own can make it ${weight}; change them first`);
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
            this.state = state;
            this.all = [...frames.brackets, ...frames.words];
        }

        text(start, end) {
            return this.letters.slice(start, end).join("");
        }

        nameOf(word) {
            return `“${this.text(...this.frames.words[word].span)}”`;
        }

        isGone(word) {
            return Boolean(this.state.get(word)?.isGone);
        }

        run() {
            if (this.frames.is_literal && this.state.size > 1) {
                throw new RewritingError("A lone | in the prompt keeps its schedules from being read: only one word can be changed at a time.");
            }
            this.checkOverlaps();
            const cuts = this.cuts();
            const groups = this.groups(cuts);
            this.checkGlued(groups);
            const edits = [...cuts, ...groups.flatMap((group) => this.editsOf(group))];
            edits.sort((one, other) => one.start - other.start || one.end - other.end);
            return this.written(edits);
        }

        /** A word that goes through a schedule shares letters with others. */
        checkOverlaps() {
            const spanOf = (word) => this.frames.words[word].span;
            const words = [...this.state.keys()].sort((one, other) => spanOf(one)[0] - spanOf(other)[0]);
            const at = words.findIndex((word, number) => number > 0 && spanOf(word)[0] < spanOf(words[number - 1])[1]);
            if (at > 0) {
                throw new RewritingError(`${this.nameOf(words[at])} shares letters with ${this.nameOf(words[at - 1])}, which was changed.`);
            }
        }

        /** The frames that do for the words of which `fits` holds: those of whole brackets, and of single words. */
        choose(fits, whyNot) {
            const done = new Set();
            return this.all.filter((frame) => {
                const isMeant = !frame.words.some((word) => done.has(word)) && fits(frame.words);
                if (isMeant && frame[whyNot] && frame.words.length === 1) {
                    throw new RewritingError(frame[whyNot]);
                }
                const isChosen = isMeant && !frame[whyNot];
                frame.words.forEach((word) => isChosen && done.add(word));
                return isChosen;
            });
        }

        // -- What goes

        cuts() {
            const isComma = (word) => this.text(...this.frames.words[word].span) === ",";
            const fits = (words) => words.every((word) => this.isGone(word) || (words.length > 1 && isComma(word))) && words.some((word) => this.isGone(word));
            const frames = this.choose(fits, "why_stays").sort((one, other) => one.core[0] - other.core[0]);
            const isNothing = (start, end) => this.letters.slice(start, end).every((letter, at) => BLANK.test(letter) || this.isComma(start + at));
            const follows = (frame, last) => last && last.container === frame.container && isNothing(last.core[1], frame.core[0]);
            const runs = [];
            for (const frame of frames) {
                runs.push([...(follows(frame, runs.at(-1)?.at(-1)) ? runs.pop() : []), frame]);
            }
            return runs.map((run) => this.cutOf(run));
        }

        cutOf(run) {
            const [{remove, room}] = run;
            if (run.length === 1 && remove) {
                return {start: remove[0], end: remove[1], text: remove[2], room, source: run[0], isCut: true};
            }
            const [first, last] = [run[0].core[0], run.at(-1).core[1]];
            const {start, end} = this.tidy(first, last, room);
            const isInside = room[0] < start && end < room[1] && ![this.letters[start - 1], this.letters[end]].some((each) => BLANK.test(each));
            return {start, end, text: isInside ? " " : "", room, source: null, isCut: true};
        }

        /** A comma that is a word of its own, and not part of signs such as "),". */
        isComma(place) {
            const isLonger = ({span: [start, end]}) => start <= place && place < end && end - start > 1;
            return this.letters[place] === "," && !this.frames.words.some(isLonger);
        }

        /** [first, end) with a comma and blanks beside it, so that one of each is left between the neighbours. */
        tidy(first, last, [start, end]) {
            const before = (place) => place - /\s*$/u.exec(this.text(start, place))[0].length;
            const after = (place) => place + /^\s*/u.exec(this.text(place, end))[0].length;
            const [left, right] = [before(first), after(last)];
            const isAfterComma = left > start && this.isComma(left - 1);
            const isBeforeComma = right < end && this.isComma(right);
            if (isBeforeComma && (isAfterComma || left === start)) {
                return {start: first, end: after(right + 1)};
            }
            if (isBeforeComma || right === end) {
                return {start: isAfterComma ? before(left - 1) : left, end: last};
            }
            if (left < first && right > last && left !== start) {
                return this.text(last, right).includes("\n") ? {start: left, end: last} : {start: first, end: right};
            }
            return {start: first, end: left === start ? right : last};
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
                const shared = groups.length > 0 && this.canShare(groups.at(-1), place) ? groups.pop() : null;
                groups.push(shared ? this.joined(shared, place) : place);
            }
            return groups.map((group) => {
                const number = numberFor(group.target, group.outer);
                const isNeeded = number !== "1" || (group.keepsOnes && group.strip.length > 0);
                return {...group, number, isNeeded, weight: Number(number) * group.outer};
            });
        }

        canShare(one, other) {
            const isAlike = one.container === other.container && one.outer === other.outer && one.target === other.target;
            return isAlike && one.isPlain && other.isPlain && BLANK.test(this.text(one.end, other.start));
        }

        joined(one, other) {
            const [strip, words] = [[...one.strip, ...other.strip], [...one.words, ...other.words]];
            return {...one, end: other.end, last: other.last, strip, words, keepsOnes: one.keepsOnes || other.keepsOnes};
        }

        textWithout({start, end, strip}) {
            const isStripped = (place) => strip.some(([from, to]) => from <= place && place < to);
            return this.letters.slice(start, end).filter((_, at) => !isStripped(start + at)).join("");
        }

        editsOf({start, end, strip, number, isNeeded, source, last}) {
            const stripped = strip.map(([from, to]) => ({start: from, end: to, text: "", source}));
            const [open, close] = [{start, end: start, text: "(", source}, {start: end, end, text: `:${number})`, source: last}];
            return isNeeded ? [open, ...stripped, close] : stripped;
        }

        /** Words without a blank between them may become one as soon as they weigh the same. */
        checkGlued(groups) {
            this.changed = new Map(groups.flatMap((group) => group.words.map((word) => [word, group.weight])));
            for (const [one, other, joins] of this.frames.glued) {
                const isNew = !isSame(this.frames.words[one].weight, this.frames.words[other].weight);
                if (joins && isNew && !this.isGone(one) && !this.isGone(other)) {
                    this.checkUnlike(one, other);
                }
            }
        }

        checkUnlike(one, other) {
            const [first, second] = [one, other].map((word) => this.changed.get(word) ?? this.frames.words[word].weight);
            if (isSame(first, second) && (this.changed.has(one) || this.changed.has(other))) {
                throw new RewritingError(`${this.nameOf(one)} and ${this.nameOf(other)} would become one word. Put a blank between them`);
            }
        }

        // -- The text

        written(edits) {
            const [put, kept] = [Array(this.letters.length + 1).fill(""), [...this.letters, ""]];
            const seams = [];
            for (const edit of edits) {
                put[edit.start] += edit.text;
                kept.fill("", edit.start, edit.end);
                const {start, end, meeting} = edit.start <= this.pastTags(seams.at(-1)?.end) ? seams.pop() : {...edit, meeting: []};
                seams.push({start, end: Math.max(end, edit.end), meeting: [...meeting, edit]});
            }
            const text = (start, end) => kept.slice(start, end).map((letter, at) => put[start + at] + letter).join("");
            const prompt = text(0, kept.length);
            for (const {start, end, meeting} of seams) {
                const [before, within] = [text(0, start), text(start, end) + put[end]];
                this.checkSeam(meeting, before, within, prompt.slice(before.length + within.length));
            }
            edits.filter((edit) => edit.isCut).forEach((cut) => this.checkNeighbours(cut, text));
            return prompt;
        }

        /** A place, or the end of the tags that begin there: what is read has none of them. */
        pastTags(place) {
            const tag = this.frames.tags.find(([start]) => start === place);
            return tag ? this.pastTags(tag[1]) : place;
        }

        /** The words on both sides of one that went may stand side by side now. */
        checkNeighbours({start, end}, text) {
            const present = [...this.frames.words.keys()].filter((word) => !this.isGone(word));
            const spanOf = (word) => this.frames.words[word].span;
            const left = present.filter((word) => spanOf(word)[1] <= start).at(-1);
            const right = present.find((word) => spanOf(word)[0] >= end);
            if (left !== undefined && right !== undefined && !/[\s,]/u.test(text(spanOf(left)[1], spanOf(right)[0]).replace(/<[^>]*>/gu, ""))) {
                this.checkUnlike(left, right);
            }
        }

        /** Where words go beside others that change, what meets was not read together when the frames were made. */
        checkSeam(edits, before, within, after) {
            const [first, last] = [edits[0], edits.at(-1)];
            if ((first.source && edits.every((edit) => edit.source === first.source)) || !edits.some((edit) => edit.isCut)) {
                return;
            }
            const isStart = first.isCut && BLANK.test(this.text(first.room[0], first.start));
            const isEnd = last.isCut && BLANK.test(this.text(last.end, last.room[1]));
            const isSafe = (isStart || !(/[:<|\\]\s*$/u.test(before) || NUMBER_AT_END.test(before))) && (isEnd || !/^\s*[:>|]/u.test(after));
            const isParted =
                /[\s,]$|^$/u.test(before) || /^[\s,]|[\s,]$/u.test(within) || /^[\s,]|^$/u.test(after) ||
                (isStart && !isWord(before.at(-1))) || (isEnd && !isWord(after[0]));
            if (!isSafe || !isParted) {
                throw new RewritingError("These changes touch each other, and cannot be written together. Edit the prompt by hand");
            }
        }
    }

    const render = (base, frames, state) => new Rendering(base, frames, state).run();
    const textOf = ({base, frames}, state) => render(base, frames, state);

    // ---- Frames of a text that the user typed, where nobody is at hand who can read it

    const UNREADABLE = {words: [], brackets: [], glued: [], tags: [], is_literal: false};

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
        return {...UNREADABLE, words};
    }

    // ---- The states of a prompt

    class PromptEdits {
        /** Words are named by their spans in this prompt, as the chips have them. */
        constructor(prompt, frames) {
            this.original = {prompt, frames};
            this.retype(prompt);
        }

        /** What the edits of a later picture go on from: plain data. */
        remember() {
            const plain = ({base, frames, states}) => ({base, frames, states: states.map((state) => [...state])});
            return this.frames ? {...plain(this), before: this.before.map(plain)} : null;
        }

        /** Goes on from what was remembered of an earlier picture, if the page's text is still what came of it; where the page
         * has none, if this picture was made of it. */
        adopt(remembered, text) {
            const live = ({base, frames, states}) => ({base, frames, states: states.map((state) => new Map(state)), gone: new Set()});
            const known = {...live(remembered), before: remembered.before.map(live)};
            const canUndo = known.states.length > 1 || known.before.length > 0;
            const written = textOf(known, known.states.at(-1));
            const isGenerated = (state) => textOf(known, state) === this.original.prompt;
            const generated = known.states.findLast(isGenerated);
            if (!canUndo || (text === undefined ? !generated : text !== written)) {
                return;
            }
            const gone = new Set([...(generated || known.states.at(-1))].filter(([, change]) => change.isGone).map(([word]) => word));
            Object.assign(this, known, {known: undefined, prompt: written, gone});
        }

        /** Goes on from a text that the user typed; what was changed before is undone only if that text comes back. */
        retype(prompt) {
            if (this.states?.length > 1 || this.before?.length > 0) {
                const {base, frames, states, before, gone} = this;
                this.known = {base, frames, states, before, gone};
            }
            const frames = prompt === this.original.prompt ? this.original.frames : null; // until takeFrames
            const isBack = this.known?.frames && textOf(this.known, this.known.states.at(-1)) === prompt;
            const anew = {base: prompt, frames, states: [new Map()], before: [], gone: new Set()};
            Object.assign(this, isBack ? this.known : anew, {prompt});
        }

        /** Adds a word at the end of the prompt; its frames are those of a text that was typed. */
        append(word) {
            const {base, frames, states, before, gone} = this;
            const text = /\S\s*$/u.test(this.prompt) ? `${this.prompt.replace(/[\s,]+$/u, "")}, ${word}` : word;
            this.retype(text);
            this.before = frames ? [...before, {base, frames, states, gone}] : [];
        }

        /** How the words of what was typed can be edited; null where nobody can say, which leaves words without syntax. */
        takeFrames(frames) {
            const spans = this.original.frames.words.map((frame) => frame.span).filter((span) => /^\p{L}+$/u.test(this.typed(span)));
            const places = spans.map((span) => this.spanInBase(span)).filter((span) => span !== null);
            this.frames = frames || plainFrames(this.base, places) || UNREADABLE;
        }

        get state() {
            return this.states.at(-1);
        }

        get canUndo() {
            return this.states.length > 1 || this.before.length > 0;
        }

        undo() {
            if (this.states.length > 1) {
                this.states.pop();
            } else {
                Object.assign(this, this.before.pop());
            }
            this.prompt = textOf(this, this.state);
        }

        /** Makes the weight of neighbouring words so much larger or smaller, but not below 0. */
        changeWeight(spans, by) {
            const words = this.withoutLoneSigns(this.present(spans));
            const weight = Math.min(...words.map((word) => this.weightOfWord(word)));
            if (weight + by < -1e-9) {
                throw new RewritingError(`“${this.typed(phrase(spans))}” has weight ${weight} already.`);
            }
            this.add(words.map((word) => [word, {weight: rounded(this.weightOfWord(word) + by)}]));
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

        /** Null where the word is not, or cannot be read. */
        weightOf(span) {
            const word = this.numberOf(span);
            return word === null ? null : this.weightOfWord(word);
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
            const isNew = (word, at) => at === 0 || this.weightOfWord(words[at - 1]) !== this.weightOfWord(word);
            const starts = words.map((_, at) => at).filter((at) => isNew(words[at], at));
            const runs = starts.map((start, number) => words.slice(start, starts[number + 1]));
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
                state.delete(word);
                if (next.weight !== undefined || next.isGone) {
                    state.set(word, next);
                }
            }
            this.prompt = render(this.base, this.frames, state);
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
            if (isThere && (!this.frames || this.frames === UNREADABLE)) {
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

        /** In another text: the same occurrence of the same text, past the words that the picture was made without. */
        spanInBase(span) {
            if (this.base === this.original.prompt) {
                return span;
            }
            const typed = this.typed(span);
            const number = placesOf(this.original.prompt, typed).indexOf(span[0]);
            const isGone = (place) => this.frames?.words.some((frame, word) => this.gone.has(word) && frame.span[0] === place);
            const place = placesOf(this.base, typed).filter((each) => !isGone(each))[number];
            return place === undefined ? null : [place, place + Array.from(typed).length];
        }
    }

    const phrase = (spans) => [spans[0][0], spans.at(-1)[1]];

    /** Where a text stands as whole words, in code points. */
    function placesOf(prompt, typed) {
        const [letters, wanted] = [Array.from(prompt), Array.from(typed)];
        const goesOn = (one, other) => isWord(one) && isWord(other);
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
