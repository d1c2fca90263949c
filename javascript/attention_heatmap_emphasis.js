// Rewrites the emphasis of words in a prompt of AUTOMATIC1111's syntax, as daam/rewriting does in Python. Knows no page.
//
// attentionHeatmap.emphasis.setWeight(prompt, span, weight), .changeWeight(prompt, span, step), .remove(prompt, span)
// give {prompt, span, places}, or throw a RewritingError whose message is for people; `places` says for each code point
// where it stands afterwards, null where it was removed. weightAt(prompt, span) is what the words weigh. Spans are
// [start, end) and count Unicode code points; toUnits and toPoints convert to and from the UTF-16 units of a text box.

(function () {
    "use strict";

    const ROUND = 1.1;
    const SQUARE = 1 / 1.1;
    const BREAK_WEIGHT = -1;
    const MOST_LETTERS = 20000;
    const MOST_DEPTH = 100;
    const MOST_WORK = 1000000;
    const LARGEST_WEIGHT = 1000;
    const LARGEST_NUMBER = 1000000;

    const PIECE = /(?<escape>\\[\\()[\]]?)|(?<open>[([])|:\s*(?<weight>[+-]?[.\p{Nd}]+)\s*\)|(?<close>[)\]])|[^\\()[\]:]+|:/gu;
    const BREAK = /(?<![\p{L}\p{N}_])BREAK(?![\p{L}\p{N}_])/gu;
    const AND = /(?<![\p{L}\p{N}_])AND(?![\p{L}\p{N}_])/gu;
    const PART_WEIGHT = /^\s*([-+]?(?:\d*\.\d+|\d+\.?))$/u;
    const TAG = /<[\p{L}\p{N}_]+:[^>]+>/gu;
    const SCHEDULE_PIECE = /[^\\[\]():|]+|\\[^\n]|[[\]():|]/gu;
    const WHEN = /^\s*[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?\s*$/u;
    const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)$/u;
    const WORD = /<\|(?:start|end)oftext\|>|'(?:[sStTmMdD]|[rRvV][eE]|[lL]{2})|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+/gu;
    const NAMED = /[\p{L}\p{N}\u{2000}-\u{10ffff}]/u;
    const BLANK = /^\s+$/u;

    class RewritingError extends Error {}

    // ---- Text whose letters know where they were typed

    class SourceText {
        constructor(letters, origin) {
            this.letters = letters;
            this.origin = origin;
            this.length = letters.length;
        }

        static typed(text) {
            const letters = Array.from(text);
            return new SourceText(letters, letters.map((_, index) => index));
        }

        static join(pieces) {
            return new SourceText(pieces.flatMap((piece) => piece.letters), pieces.flatMap((piece) => piece.origin));
        }

        get string() {
            return this.letters.join("");
        }

        slice(start, end) {
            return new SourceText(this.letters.slice(start, end), this.origin.slice(start, end));
        }

        /** All matches with their [start, end) in letters. */
        matches(pattern) {
            const points = pointsOfUnits(this.letters);
            return Array.from(this.string.matchAll(pattern), (match) => ({
                text: match[0],
                groups: match.groups || {},
                start: points[match.index],
                end: points[match.index + match[0].length],
            }));
        }
    }

    function pointsOfUnits(letters) {
        const points = [];
        letters.forEach((letter, index) => {
            for (let unit = 0; unit < letter.length; unit++) {
                points.push(index);
            }
        });
        points.push(letters.length);
        return points;
    }

    // ---- Tags and AND

    function takeOutTags(text) {
        const lastEnd = text.letters.lastIndexOf(">") + 1;
        const tags = text.slice(0, lastEnd).matches(TAG);
        const kept = [];
        let position = 0;
        for (const tag of tags) {
            kept.push(text.slice(position, tag.start));
            position = tag.end;
        }
        kept.push(text.slice(position, text.length));
        return [SourceText.join(kept), tags];
    }

    function splitParts(text) {
        const parts = [];
        let position = 0;
        for (const match of text.matches(AND)) {
            parts.push(text.slice(position, match.start));
            position = match.end;
        }
        parts.push(text.slice(position, text.length));
        return parts.map(readPartWeight);
    }

    function readPartWeight(part) {
        const length = lengthWithoutBlanks(part.letters, part.length);
        const colon = part.letters.lastIndexOf(":", length - 1);
        const number = colon >= 0 && length ? PART_WEIGHT.exec(part.letters.slice(colon + 1, length).join("")) : null;
        if (!number) {
            return [part.slice(0, length), 1];
        }
        return [part.slice(0, lengthWithoutBlanks(part.letters, colon)), Number(number[1])];
    }

    function lengthWithoutBlanks(letters, length) {
        while (length > 0 && BLANK.test(letters[length - 1])) {
            length--;
        }
        return length;
    }

    // ---- Schedules: [a:b:0.5] and [a|b]

    /** Items {piece} and {schedule}, or null where the host's grammar gives up and takes the text literally. */
    function readSchedule(text) {
        const pieces = text.matches(SCHEDULE_PIECE);
        if (pieces.reduce((sum, piece) => sum + piece.end - piece.start, 0) !== text.length) {
            return null;
        }
        const kinds = markPieces(pieces);
        return kinds.includes("BAR") ? null : nestSchedules(pieces, kinds, text);
    }

    function markPieces(pieces) {
        const kinds = pieces.map((piece) => ("[]():".includes(piece.text) ? "STRAY" : piece.text === "|" ? "BAR" : "TEXT"));
        const waiting = [];
        const edits = [];
        pieces.forEach((piece, index) => {
            const top = waiting[waiting.length - 1];
            if (piece.text === "(" || piece.text === "[") {
                waiting.push({ opening: index, colons: [], bars: [] });
            } else if (piece.text === ")" || piece.text === "]") {
                closePair(pieces, kinds, waiting, edits, index);
            } else if (piece.text === ":" && top) {
                top.colons.push(index);
            } else if (piece.text === "|" && top) {
                top.bars.push(index);
            }
        });
        undoEditsBeforeStrays(kinds, edits);
        return kinds;
    }

    function closePair(pieces, kinds, waiting, edits, closing) {
        const pair = waiting.pop();
        const shape = pair ? pairShape(pieces, pair, closing) : null;
        if (!shape) {
            waiting.length = 0;
            return;
        }
        kinds[pair.opening] = `${shape}_OPEN`;
        kinds[closing] = `${shape}_CLOSE`;
        pair.colons.forEach((colon) => (kinds[colon] = `${shape}_COLON`));
        pair.bars.forEach((bar) => (kinds[bar] = `${shape}_BAR`));
        if (shape === "EDIT") {
            kinds[closing - 1] = "WHEN";
            edits.push({ pair, closing });
        }
    }

    function pairShape(pieces, pair, closing) {
        const isRound = pieces[pair.opening].text === "(";
        if (isRound !== (pieces[closing].text === ")")) {
            return null;
        }
        if (isRound) {
            return !pair.bars.length && pair.colons.length <= 1 ? "ROUND" : null;
        }
        if (pair.bars.length) {
            return pair.colons.length ? null : "ALTERNATE";
        }
        if (!pair.colons.length) {
            return "SQUARE";
        }
        const last = pair.colons[pair.colons.length - 1];
        const endsWithNumber = last === closing - 2 && WHEN.test(pieces[closing - 1].text);
        return pair.colons.length <= 2 && endsWithNumber ? "EDIT" : null;
    }

    /** An edit outside all brackets whose end stands right before a stray bracket or colon is literal: [a:5]]. */
    function undoEditsBeforeStrays(kinds, edits) {
        const nested = [];
        let depth = 0;
        for (const kind of kinds) {
            depth -= kind.endsWith("_CLOSE");
            nested.push(depth > 0);
            depth += kind.endsWith("_OPEN");
        }
        const undone = edits.filter(
            ({ pair, closing }) =>
                !nested[closing] &&
                kinds[closing + 1] === "STRAY" &&
                ![pair.opening, ...pair.colons].some((index) => touchesEdit(kinds, index)),
        );
        for (const { pair, closing } of undone) {
            kinds[closing - 1] = "TEXT";
            [pair.opening, ...pair.colons, closing].forEach((index) => (kinds[index] = "STRAY"));
        }
    }

    function touchesEdit(kinds, index) {
        index--;
        while (index >= 0 && !["TEXT", "WHEN", "EDIT_CLOSE"].includes(kinds[index])) {
            index--;
        }
        return kinds[index] === "EDIT_CLOSE";
    }

    function nestSchedules(pieces, kinds, text) {
        const root = [];
        const stack = [];
        let items = root;
        kinds.forEach((kind, index) => {
            const place = text.origin[pieces[index].start];
            const top = stack[stack.length - 1];
            if (kind === "EDIT_OPEN" || kind === "ALTERNATE_OPEN") {
                const schedule = { start: place, when: "|", syntax: [place], borders: [place], branches: [[]], outer: items };
                items.push({ schedule });
                stack.push(schedule);
                items = schedule.branches[0];
            } else if (kind === "EDIT_COLON" || kind === "ALTERNATE_BAR") {
                top.syntax.push(place);
                top.borders.push(place);
                items = [];
                top.branches.push(items);
            } else if (kind === "WHEN") {
                top.when = pieces[index].text;
                top.branches.pop();
                for (let letter = pieces[index].start; letter < pieces[index].end; letter++) {
                    top.syntax.push(text.origin[letter]);
                }
            } else if (kind === "EDIT_CLOSE" || kind === "ALTERNATE_CLOSE") {
                closeSchedule(top, place);
                items = stack.pop().outer;
            } else {
                items.push({ piece: text.slice(pieces[index].start, pieces[index].end) });
            }
        });
        return root;
    }

    function closeSchedule(schedule, place) {
        schedule.syntax.push(place);
        schedule.end = place + 1;
        if (schedule.when === "|") {
            schedule.borders.push(place);
        }
        const edges = schedule.borders;
        schedule.options = edges.slice(1).map((edge, index) => ({ start: edges[index] + 1, end: edge, elements: [] }));
        schedule.separators = edges.slice(1, -1);
        if (schedule.options.length === 1) {
            schedule.branches.unshift([]); // [a:10] begins with no text
            schedule.options.unshift({ start: schedule.start + 1, end: schedule.start + 1, elements: [] });
            schedule.separators = [schedule.start];
        }
    }

    function schedulesIn(items) {
        return items.flatMap((item) =>
            item.schedule ? [item.schedule, ...item.schedule.branches.flatMap(schedulesIn)] : [],
        );
    }

    // ---- Emphasis: (x), [x], (x:1.3), escapes and BREAK

    /** Runs {text, weight} of one text, as the host encodes them. */
    function readRuns(text) {
        const pieces = [];
        const open = { "(": [], "[": [] };
        let work = 0;
        const multiply = (start, factor) => {
            work = checkedWork(work + pieces.length - start);
            pieces.slice(start).forEach((piece) => (piece.weight *= factor));
        };
        for (const match of text.matches(PIECE)) {
            if (match.groups.escape) {
                pieces.push({ text: text.slice(match.start + 1, match.end), weight: 1 });
            } else if (match.groups.open) {
                open[match.text].push(pieces.length);
            } else if (match.groups.weight && open["("].length) {
                multiply(open["("].pop(), readNumber(match.groups.weight, match.text));
            } else if (match.text === ")" && open["("].length) {
                multiply(open["("].pop(), ROUND);
            } else if (match.text === "]" && open["["].length) {
                multiply(open["["].pop(), SQUARE);
            } else {
                addWithBreaks(pieces, text.slice(match.start, match.end));
            }
        }
        open["("].forEach((start) => multiply(start, ROUND));
        open["["].forEach((start) => multiply(start, SQUARE));
        return mergedRuns(pieces);
    }

    function addWithBreaks(pieces, text) {
        let position = 0;
        for (const match of text.matches(BREAK)) {
            const end = Math.max(position, lengthWithoutBlanks(text.letters, match.start));
            pieces.push({ text: text.slice(position, end), weight: 1 });
            pieces.push({ text: text.slice(match.start, match.end), weight: BREAK_WEIGHT });
            position = match.end;
            while (position < text.length && BLANK.test(text.letters[position])) {
                position++;
            }
        }
        pieces.push({ text: text.slice(position, text.length), weight: 1 });
    }

    function mergedRuns(pieces) {
        const groups = [];
        for (const piece of pieces) {
            const last = groups[groups.length - 1];
            if (last && last.weight === piece.weight) {
                last.texts.push(piece.text);
            } else {
                groups.push({ weight: piece.weight, texts: [piece.text] });
            }
        }
        return groups.map((group) => ({ text: SourceText.join(group.texts), weight: group.weight }));
    }

    function readNumber(number, typed) {
        if (!NUMBER.test(number)) {
            throw new RewritingError(`the weight in "${typed}" is no number: expected one such as 1.2`);
        }
        return Number(number);
    }

    function checkedWork(work) {
        if (work > MOST_WORK) {
            throw new RewritingError("this prompt has too many brackets; make it simpler");
        }
        return work;
    }

    // ---- The letters of a prompt and the brackets around them, as a tree

    function readElements(prompt, negative) {
        const typed = SourceText.typed(prompt);
        if (typed.length > MOST_LETTERS) {
            throw new RewritingError(`expected at most ${MOST_LETTERS} letters, got ${typed.length}`);
        }
        const [text, tags] = takeOutTags(typed);
        const parts = negative ? [[text, 1]] : splitParts(text);
        return { letters: typed.letters, tags, parts: parts.map(([part, weight]) => readPart(part, weight)) };
    }

    function readPart(text, weight) {
        const items = readSchedule(text);
        const schedules = items ? schedulesIn(items) : [];
        const syntax = new Set(schedules.flatMap((schedule) => schedule.syntax));
        const shown = text.letters.map((_, index) => index).filter((index) => !syntax.has(text.origin[index]));
        const scanned = scan(new SourceText(shown.map((index) => text.letters[index]), shown.map((index) => text.origin[index])));
        const root = { start: text.length ? text.origin[0] : 0, end: text.length ? text.origin[text.length - 1] + 1 : 0, elements: [] };
        const nodes = schedules.map((schedule) => ({
            kind: "node",
            start: schedule.start,
            end: schedule.end,
            factor: 1,
            when: schedule.when,
            options: schedule.options,
            separators: schedule.separators,
        }));
        buildTree(root, scanned, nodes);
        return { text, weight, items, root };
    }

    /** The leaves of a text and its pairs of brackets, with their typed places. */
    function scan(text) {
        const leaves = [];
        const pairs = [];
        const open = { "(": [], "[": [] };
        let backslash = null;
        const typedStart = (start) => {
            const place = backslash === null ? text.origin[start] : backslash;
            backslash = null;
            return place;
        };
        const add = (start, end) => {
            const letters = text.letters.slice(start, end).join("");
            leaves.push({ kind: "leaf", start: typedStart(start), end: text.origin[end - 1] + 1, text: letters, flat: 1 });
        };
        const close = (bracket, match, factor) => {
            const pair = open[bracket].pop();
            Object.assign(pair, { close: typedStart(match.start), end: text.origin[match.end - 1] + 1, endLeaf: leaves.length });
            pair.factor = factor === undefined ? pair.factor : factor;
        };
        for (const match of text.matches(PIECE)) {
            if (match.groups.escape) {
                backslash = text.origin[match.start];
                if (match.end - match.start > 1) {
                    add(match.start + 1, match.start + 2);
                }
            } else if (match.groups.open) {
                const factor = match.text === "(" ? ROUND : SQUARE;
                const pair = { start: text.origin[match.start], firstLeaf: leaves.length, factor, close: null };
                pairs.push(pair);
                open[match.text].push(pair);
            } else if (match.groups.weight && open["("].length) {
                close("(", match, readNumber(match.groups.weight, match.text));
            } else if (match.text === ")" && open["("].length) {
                close("(", match);
            } else if (match.text === "]" && open["["].length) {
                close("[", match);
            } else {
                scanText(text, match, add);
            }
        }
        return { leaves, pairs };
    }

    function scanText(text, piece, add) {
        let position = piece.start;
        for (const match of text.slice(piece.start, piece.end).matches(BREAK)) {
            for (; position < piece.start + match.start; position++) {
                add(position, position + 1);
            }
            position = piece.start + match.end;
            add(piece.start + match.start, position);
        }
        for (; position < piece.end; position++) {
            add(position, position + 1);
        }
    }

    /** Closed pairs that overlap without nesting, such as both of ([a)]. */
    function crossingPairs(pairs) {
        const closed = pairs.filter((pair) => pair.close !== null);
        const events = closed.flatMap((pair) => [[pair.start, pair], [pair.close, pair]]);
        const crossing = new Set();
        const waiting = [];
        let work = 0;
        for (const [place, pair] of events.sort((one, other) => one[0] - other[0])) {
            if (place === pair.start) {
                waiting.push(pair);
                continue;
            }
            const index = waiting.lastIndexOf(pair);
            const above = waiting.slice(index);
            work = checkedWork(work + above.length);
            if (above.length > 1) {
                above.forEach((other) => crossing.add(other));
            }
            waiting.splice(index, 1);
        }
        return crossing;
    }

    function buildTree(root, { leaves, pairs }, schedules) {
        const crossing = crossingPairs(pairs);
        const events = leaves.map((leaf) => [leaf.start, "add", leaf]);
        let work = 0;
        for (const pair of pairs) {
            if (pair.close === null || crossing.has(pair)) {
                const inner = leaves.slice(pair.firstLeaf, pair.close === null ? leaves.length : pair.endLeaf);
                work = checkedWork(work + inner.length);
                inner.forEach((leaf) => (leaf.flat *= pair.factor));
                const places = pair.close === null ? [pair.start] : [pair.start, pair.close];
                places.forEach((place) => events.push([place, "add", { kind: "barrier", start: place }]));
            } else {
                const option = { start: pair.start + 1, end: pair.close, elements: [] };
                const node = { kind: "node", start: pair.start, end: pair.end, factor: pair.factor, when: null, options: [option] };
                events.push([pair.start, "open", node], [pair.close, "close", node]);
            }
        }
        for (const node of schedules) {
            events.push([node.start, "open", node]);
            node.separators.forEach((place) => events.push([place, "next", node]));
            events.push([node.end - 1, "close", node]);
        }
        nest(root, events.sort((one, other) => one[0] - other[0]));
    }

    function nest(root, events) {
        const waiting = [];
        const options = [root];
        for (const [, action, element] of events) {
            const top = waiting[waiting.length - 1];
            if (action === "add") {
                options[options.length - 1].elements.push(element);
            } else if (action === "open") {
                options[options.length - 1].elements.push(element);
                waiting.push({ node: element, option: 0 });
                options.push(element.options[0]);
                if (waiting.length > MOST_DEPTH) {
                    throw new RewritingError(`expected brackets at most ${MOST_DEPTH} deep; make the prompt simpler`);
                }
            } else if (!top || top.node !== element) {
                throw new RewritingError("the weight of a bracket is written with a schedule; write it as a number");
            } else if (action === "next") {
                top.option++;
                options[options.length - 1] = element.options[top.option];
            } else {
                waiting.pop();
                options.pop();
            }
        }
    }

    function leavesOf(element) {
        if (element.kind === "leaf") {
            return [element];
        }
        if (element.kind === "node") {
            return element.options.flatMap(leavesOf);
        }
        return element.elements ? element.elements.flatMap(leavesOf) : [];
    }

    function nodesOf(element) {
        if (element.kind === "node") {
            return [element, ...element.options.flatMap(nodesOf)];
        }
        return element.elements ? element.elements.flatMap(nodesOf) : [];
    }

    const isBlank = (element) => element.kind === "leaf" && BLANK.test(element.text);
    const isBreak = (element) => element.kind === "leaf" && element.text === "BREAK";
    const positionOf = (leaf) => leaf.end - 1;

    // ---- Which letters are meant, and which of them can be handled together

    function lettersIn(elements, [start, end]) {
        const length = elements.letters.length;
        if (!(Number.isInteger(start) && Number.isInteger(end) && start >= 0 && start < end && end <= length)) {
            throw new RewritingError(`span: expected 0 <= start < end <= ${length}, got ${start}, ${end}`);
        }
        for (const tag of elements.tags) {
            if ([start, end - 1].some((place) => tag.start <= place && place < tag.end)) {
                throw new RewritingError(`${tag.text} is an extra-network tag: its weight is the number within it`);
            }
        }
        const found = new Map();
        for (const leaf of elements.parts.flatMap((part) => leavesOf(part.root))) {
            const place = positionOf(leaf);
            if (start <= place && place < end && !isBlank(leaf) && !isBreak(leaf)) {
                found.set(place, leaf);
            }
        }
        if (!found.size) {
            const typed = elements.letters.slice(start, end).join("");
            throw new RewritingError(`expected a word of the prompt, got "${typed}"`);
        }
        return found;
    }

    function weightsOf(elements) {
        const found = new Map();
        const visit = (option, outer) => {
            for (const element of option.elements) {
                if (element.kind === "leaf") {
                    found.set(positionOf(element), outer * element.flat);
                } else if (element.kind === "node") {
                    element.options.forEach((inner) => visit(inner, outer * element.factor));
                }
            }
        };
        elements.parts.forEach((part) => visit(part.root, 1));
        return found;
    }

    /** Groups {elements, container, outer, start, end}; `removing` takes brackets that only commas are left in. */
    function findGroups(elements, targets, removing) {
        const fixed = removing ? elements.tags.map((tag) => tag.start) : [];
        const groups = [];
        const targetOf = (element) => {
            if (element.kind === "barrier") {
                return undefined;
            }
            if (element.kind === "leaf") {
                return targets.get(positionOf(element));
            }
            if (fixed.some((place) => element.start < place && place < element.end) || hasBarrier(element)) {
                return undefined;
            }
            const isLeft = (leaf) => removing && leaf.text === "," && !targets.has(positionOf(leaf));
            const letters = leavesOf(element).filter((leaf) => !isBlank(leaf) && !isLeft(leaf));
            const wanted = new Set(letters.map((leaf) => targets.get(positionOf(leaf))));
            return wanted.size === 1 ? [...wanted][0] : undefined;
        };
        const close = (members, container, outer) => {
            while (members.length && isBlank(members[members.length - 1])) {
                members.pop();
            }
            if (!members.length) {
                return;
            }
            const first = members[0];
            if (members.length === 1 && first.kind === "node" && first.when !== null && !removing) {
                first.options.forEach((option) => visit(option, outer));
                return;
            }
            const flat = leavesOf(first)[0].flat;
            const end = members[members.length - 1].end;
            groups.push({ elements: members, container, outer: outer * flat, start: first.start, end });
        };
        const visit = (option, outer) => {
            let members = [];
            let target;
            for (const element of option.elements) {
                if (isBlank(element)) {
                    if (members.length) {
                        members.push(element);
                    }
                    continue;
                }
                const wanted = targetOf(element);
                if (wanted === undefined || wanted !== target) {
                    close(members, option, outer);
                    members = [];
                }
                target = wanted;
                if (wanted !== undefined) {
                    members.push(element);
                } else if (element.kind === "node") {
                    element.options.forEach((inner) => visit(inner, outer * element.factor));
                }
            }
            close(members, option, outer);
        };
        elements.parts.forEach((part) => visit(part.root, 1));
        return groups;
    }

    function hasBarrier(node) {
        return node.options.some((option) =>
            option.elements.some((element) => element.kind === "barrier" || (element.kind === "node" && hasBarrier(element))),
        );
    }

    // ---- Reading again: has anything else changed?

    function* readings(old, fresh, places) {
        checkFrame(old, fresh, places);
        for (let number = 0; number < old.parts.length; number++) {
            const part = old.parts[number];
            const choices = allChoices(part);
            checkedWork(choices.length * part.text.length);
            for (const { branches, takesLast } of choices) {
                const moved = new Map([...branches].map(([start, branch]) => [places[start], branch]));
                yield [wordsOf(part, branches, takesLast), wordsOf(fresh.parts[number], moved, takesLast)];
            }
        }
    }

    function checkFrame(old, fresh, places) {
        const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
        if (!same(old.parts.map((part) => part.weight), fresh.parts.map((part) => part.weight))) {
            throw new RewritingError("the parts that AND joins would change");
        }
        if (!same(old.tags.map((tag) => tag.text), fresh.tags.map((tag) => tag.text))) {
            throw new RewritingError("an extra-network tag would change");
        }
        old.parts.forEach((part, number) => {
            const moved = schedulesOf(part).map(([start, ...rest]) => [places[start], ...rest]);
            if (!same(moved.filter(([start]) => start !== null), schedulesOf(fresh.parts[number]))) {
                throw new RewritingError("a schedule would change");
            }
        });
    }

    function schedulesOf(part) {
        const schedules = nodesOf(part.root).filter((node) => node.when !== null);
        return schedules.map((node) => [node.start, node.when, node.options.length]);
    }

    function allChoices(part) {
        const paths = [new Map()];
        const visit = (option, path) => {
            for (const element of option.elements.filter((child) => child.kind === "node")) {
                element.options.forEach((branch, number) => {
                    const inner = element.when === null ? path : new Map([...path, [element.start, number]]);
                    if (element.when !== null) {
                        paths.push(inner);
                    }
                    visit(branch, inner);
                });
            }
        };
        visit(part.root, new Map());
        return paths.flatMap((branches) => [{ branches, takesLast: false }, { branches, takesLast: true }]);
    }

    /** Words {letters, text, weight} of one reading; a BREAK that starts a chunk has the weight null. */
    function wordsOf(part, branches, takesLast) {
        const words = [];
        for (const run of readRuns(textOf(part, branches, takesLast))) {
            if (run.weight === BREAK_WEIGHT && run.text.string === "BREAK") {
                words.push({ letters: run.text.origin, text: "BREAK", weight: null });
                continue;
            }
            for (const match of run.text.matches(WORD)) {
                words.push({ letters: run.text.origin.slice(match.start, match.end), text: match.text, weight: run.weight });
            }
        }
        return words;
    }

    function textOf(part, branches, takesLast) {
        if (!part.items) {
            return part.text;
        }
        const pieces = [];
        const visit = (items) => {
            for (const item of items) {
                if (item.piece) {
                    pieces.push(item.piece);
                    continue;
                }
                const { start, branches: texts } = item.schedule;
                const number = branches.has(start) ? branches.get(start) : takesLast ? texts.length - 1 : 0;
                visit(texts[number]);
            }
        };
        visit(part.items);
        return SourceText.join(pieces);
    }

    const isSameWeight = (one, other) =>
        one === null || other === null ? one === other : Math.abs(other - one) <= 1e-6 * Math.max(1, Math.abs(one));

    const isMoved = (word, other, places) =>
        word.letters.length === other.letters.length &&
        word.letters.every((letter, index) => places[letter] === other.letters[index]);

    function checkWeights(old, fresh, places, targets) {
        if (old.parts.some((part) => schedulesOf(part).some(([start]) => places[start] === null))) {
            throw new RewritingError("a schedule would go");
        }
        for (const [before, after] of readings(old, fresh, places)) {
            if (before.length !== after.length) {
                throw new RewritingError("words would be joined or cut");
            }
            before.forEach((word, index) => {
                const other = after[index];
                if (!isMoved(word, other, places)) {
                    throw new RewritingError(`"${word.text}" would be joined or cut`);
                }
                const wanted = new Set(word.letters.map((letter) => targets.get(letter)));
                const target = [...wanted][0];
                const isRight =
                    word.weight === null || other.weight === null || target === undefined
                        ? isSameWeight(word.weight, other.weight)
                        : Math.abs(other.weight - target) < 0.005;
                if (!isRight || (wanted.size > 1 && word.weight !== null)) {
                    throw new RewritingError(`"${word.text}" would get a weight that was not asked for`);
                }
            });
        }
    }

    function checkRemoval(old, fresh, places, removed) {
        for (const [before, after] of readings(old, fresh, places)) {
            let next = 0;
            for (const word of before) {
                const gone = word.letters.filter((letter) => removed.has(letter)).length;
                const other = after[next];
                if (gone && gone < word.letters.length) {
                    throw new RewritingError(`"${word.text}" would be cut`);
                } else if (!gone && other && isMoved(word, other, places) && isSameWeight(word.weight, other.weight)) {
                    next++;
                } else if (!gone && word.text !== ",") {
                    throw new RewritingError(`"${word.text}" would be changed`);
                }
            }
            if (next < after.length) {
                throw new RewritingError(`"${after[next].text}" would come in`);
            }
        }
    }

    // ---- Numbers

    function checkedWeight(weight, name) {
        if (typeof weight !== "number" || !Number.isFinite(weight) || Math.abs(weight) > LARGEST_WEIGHT) {
            throw new RewritingError(`${name}: expected a number from -${LARGEST_WEIGHT} to ${LARGEST_WEIGHT}, got ${weight}`);
        }
        return weight;
    }

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

    // ---- Edits {start, end, text} of the letters

    function applyEdits(letters, edits) {
        const ordered = [...edits].sort((one, other) => one.start - other.start || one.end - other.end);
        const pieces = [];
        const places = [];
        let length = 0;
        for (const edit of [...ordered, { start: letters.length, end: letters.length, text: "" }]) {
            for (let index = places.length; index < edit.start; index++) {
                pieces.push(letters[index]);
                places.push(length++);
            }
            while (places.length < edit.end) {
                places.push(null);
            }
            pieces.push(edit.text);
            length += edit.text.length; // only brackets, numbers and blanks: one unit each
        }
        return [pieces.join(""), places];
    }

    function samePlaces(letters) {
        return letters.map((_, place) => place);
    }

    /** Where letters stand after two edits, one after the other. */
    function thenPlaces(first, second) {
        return first.map((place) => (place === null ? null : second[place]));
    }

    function movedSpan(positions, places) {
        const moved = positions.map((position) => places[position]);
        return [Math.min(...moved), Math.max(...moved) + 1];
    }

    // ---- What is offered

    function setWeight(prompt, span, weight, { negative = false } = {}) {
        checkedWeight(weight, "weight");
        const elements = readElements(prompt, negative);
        const places = [...lettersIn(elements, span).keys()];
        return rewrite(prompt, elements, new Map(places.map((place) => [place, weight])), negative);
    }

    function changeWeight(prompt, span, step = 0.1, { negative = false } = {}) {
        checkedWeight(step, "step");
        const elements = readElements(prompt, negative);
        const weights = weightsOf(elements);
        const places = withoutLoneSigns(lettersIn(elements, span), weights);
        const targets = new Map(places.map((place) => [place, checkedWeight(rounded(weights.get(place) + step), "weight")]));
        return rewrite(prompt, elements, targets, negative);
    }

    /** A comma between words of different weights keeps its own. */
    function withoutLoneSigns(letters, weights) {
        const runs = [];
        for (const place of [...letters.keys()].sort((one, other) => one - other)) {
            const last = runs[runs.length - 1];
            if (last && weights.get(last[0]) === weights.get(place)) {
                last.push(place);
            } else {
                runs.push([place]);
            }
        }
        const named = runs.filter((run) => run.some((place) => NAMED.test(letters.get(place).text)));
        return (named.length ? named : runs).flat();
    }

    function rewrite(prompt, elements, targets, negative) {
        const weights = weightsOf(elements);
        const positions = [...targets.keys()].sort((one, other) => one - other);
        if (positions.every((place) => Math.abs(weights.get(place) - targets.get(place)) < 1e-9)) {
            return { prompt, span: [positions[0], positions[positions.length - 1] + 1], places: samePlaces(elements.letters) };
        }
        const groups = findGroups(elements, targets, false);
        let reason = "";
        for (const keepsOnes of [false, true]) {
            const edits = groups.flatMap((group) => weightEdits(group, targets, keepsOnes));
            const [changed, places] = applyEdits(elements.letters, edits);
            try {
                checkWeights(elements, readElements(changed, negative), places, targets);
                return { prompt: changed, span: movedSpan(positions, places), places };
            } catch (error) {
                reason = reason || messageOf(error);
            }
        }
        const words = elements.letters.slice(positions[0], positions[positions.length - 1] + 1).join("");
        throw new RewritingError(`the weight of "${words}" cannot be changed on its own: ${reason}. Put blanks around the word`);
    }

    function weightEdits(group, targets, keepsOnes) {
        const pairs = group.elements.flatMap(nodesOf).filter((node) => node.when === null);
        const letter = group.elements.flatMap(leavesOf).find((leaf) => !isBlank(leaf));
        const number = numberFor(targets.get(positionOf(letter)), group.outer);
        const isNeeded = number !== "1" || (keepsOnes && pairs.length > 0);
        const stripped = pairs.flatMap((pair) => [
            { start: pair.start, end: pair.start + 1, text: "" },
            { start: pair.options[0].end, end: pair.end, text: "" },
        ]);
        if (!isNeeded) {
            return stripped;
        }
        return [
            { start: group.start, end: group.start, text: "(" },
            ...stripped,
            { start: group.end, end: group.end, text: `:${number})` },
        ];
    }

    function remove(prompt, span, { negative = false } = {}) {
        let elements = readElements(prompt, negative);
        const letters = lettersIn(elements, span);
        const targets = new Map([...letters.keys()].map((place) => [place, 0]));
        const groups = findGroups(elements, targets, true);
        let place = 0;
        let places = samePlaces(elements.letters);
        for (const group of groups.reverse()) {
            let moved;
            [prompt, place, moved] = removeGroup(elements, group, negative);
            places = thenPlaces(places, moved);
            elements = readElements(prompt, negative);
        }
        return { prompt, span: [place, place], places };
    }

    /** The least weight of the words at a span. */
    function weightAt(prompt, span, { negative = false } = {}) {
        const elements = readElements(prompt, negative);
        const weights = weightsOf(elements);
        const places = withoutLoneSigns(lettersIn(elements, span), weights);
        return Math.min(...places.map((place) => weights.get(place)));
    }

    function removeGroup(elements, group, negative) {
        const letters = group.elements.flatMap(leavesOf).filter((leaf) => !isBlank(leaf));
        const removed = new Set(letters.map(positionOf));
        const { start, end } = group;
        let reason = "";
        for (const edit of [tidyEdit(elements.letters, group), { start, end, text: "" }, { start, end, text: " " }]) {
            const [changed, places] = applyEdits(elements.letters, [edit]);
            try {
                checkRemoval(elements, readElements(changed, negative), places, removed);
                return [changed, edit.start, places];
            } catch (error) {
                reason = reason || messageOf(error);
            }
        }
        const words = elements.letters.slice(start, end).join("");
        throw new RewritingError(`"${words}" cannot be removed on its own: ${reason}. Edit the prompt by hand`);
    }

    /** The group with a comma and blanks beside it, so that one of each is left between its neighbours. */
    function tidyEdit(letters, group) {
        const [start, end] = roomAround(group);
        const left = blanksBefore(letters, group.start, start);
        const right = blanksAfter(letters, group.end, end);
        const isAfterComma = left > start && letters[left - 1] === ",";
        const isBeforeComma = right < end && letters[right] === ",";
        const edit = (from, to) => ({ start: from, end: to, text: "" });
        if (isBeforeComma && (isAfterComma || left === start)) {
            const after = blanksAfter(letters, right + 1, end);
            const keepsLine = letters.slice(right, after).includes("\n") && left < group.start;
            return keepsLine ? edit(left, right + 1) : edit(group.start, after);
        }
        if (isBeforeComma) {
            return edit(left, group.end);
        }
        if (right === end) {
            return edit(isAfterComma ? blanksBefore(letters, left - 1, start) : left, group.end);
        }
        if (left === start) {
            return edit(group.start, right);
        }
        if (left < group.start && right > group.end) {
            return letters.slice(group.end, right).includes("\n") ? edit(left, group.end) : edit(group.start, right);
        }
        return edit(group.start, group.end);
    }

    function blanksBefore(letters, place, start) {
        while (place > start && BLANK.test(letters[place - 1])) {
            place--;
        }
        return place;
    }

    function blanksAfter(letters, place, end) {
        while (place < end && BLANK.test(letters[place])) {
            place++;
        }
        return place;
    }

    /** To the ends of the brackets or branch, or to a BREAK or a lone bracket in it. */
    function roomAround(group) {
        let { start } = group.container;
        const { end } = group.container;
        for (const element of group.container.elements) {
            if (element.kind !== "barrier" && !isBreak(element)) {
                continue;
            }
            if (element.start >= group.start) {
                return [start, Math.min(end, element.start)];
            }
            start = element.kind === "barrier" ? element.start + 1 : element.end;
        }
        return [start, end];
    }

    function messageOf(error) {
        if (error instanceof RewritingError) {
            return error.message;
        }
        throw error;
    }

    /** Code points to the UTF-16 units that a text box counts in. */
    function toUnits(text, span) {
        const letters = Array.from(text);
        return span.map((place) => letters.slice(0, place).join("").length);
    }

    /** UTF-16 units to code points. */
    function toPoints(text, span) {
        return span.map((place) => Array.from(text.slice(0, place)).length);
    }

    const emphasis = { setWeight, changeWeight, weightAt, remove, thenPlaces, toUnits, toPoints, RewritingError };
    globalThis.attentionHeatmap = globalThis.attentionHeatmap || {};
    globalThis.attentionHeatmap.emphasis = emphasis;
    if (typeof module !== "undefined") {
        module.exports = emphasis;
    }
})();
