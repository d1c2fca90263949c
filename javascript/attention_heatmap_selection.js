// Which words are selected: groups of one word or of a phrase, each with a colour of its own. Knows no page.
//
// A word is known again in a later picture by its key: the side of the prompt, its text, and its number among the same words.

(function () {
    "use strict";

    const SHARED = (globalThis.attentionHeatmap = globalThis.attentionHeatmap || {});

    /** Gives each chip its key. */
    function nameChips(chips) {
        const seen = new Map();
        for (const chip of chips) {
            const word = `${chip.side} ${chip.text.toLowerCase()}`;
            seen.set(word, (seen.get(word) || 0) + 1);
            chip.key = `${word} ${seen.get(word)}`;
        }
    }

    const textOf = (group) => group.map((chip) => chip.text).join(" ");
    const keyOf = (group) => group.map((chip) => chip.key).join("; ");
    const strengthOf = (group) => group.reduce((sum, chip) => sum + (chip.strength || 0), 0);

    /** Spans of the words of each run of neighbours: one run for a phrase, more for words that stand apart. */
    function phrasesOf(group) {
        const runs = [];
        group.forEach((chip, at) => {
            if (at > 0 && group[at - 1].number + 1 === chip.number) {
                runs.at(-1).push(chip.span);
            } else {
                runs.push([chip.span]);
            }
        });
        return runs;
    }

    class Selection {
        /** `words`: the chips that have maps, in the order of the prompts. `colourFor(group, taken)` chooses a colour. */
        constructor(words, colourFor) {
            Object.assign(this, {words, colourFor, groups: [], colours: new Map()});
        }

        has(chip) {
            return this.groups.some((group) => group.includes(chip));
        }

        isOnly(chip) {
            return this.groups.length === 1 && this.groups[0].length === 1 && this.groups[0][0] === chip;
        }

        /** This word alone; nothing, where it was that already. */
        only(chip) {
            this.groups = this.isOnly(chip) ? [] : [[chip]];
        }

        toggle(chip) {
            this.groups = this.has(chip) ? this.groups.filter((group) => !group.includes(chip)) : [...this.groups, [chip]];
        }

        /** All words from one to the other as one phrase, instead of `replaced`: all groups, or those that it overlaps. */
        join(first, last, isAdded = false) {
            const words = this.words.filter((chip) => chip.each === first.each && chip.part === first.part);
            const places = [words.indexOf(first), words.indexOf(last)].sort((one, other) => one - other);
            if (places[0] < 0) {
                return;
            }
            const phrase = words.slice(places[0], places[1] + 1);
            const kept = isAdded ? this.groups.filter((group) => !group.some((chip) => phrase.includes(chip))) : [];
            this.groups = [...kept, phrase];
        }

        /** Where a phrase that is being extended begins; null where nothing is selected. */
        get anchor() {
            return this.groups.at(-1)?.[0] || null;
        }

        clear() {
            this.groups = [];
        }

        /** Colour of a group, "#rrggbb"; it stays the group's own as long as the page is there. */
        colourOf(group) {
            const key = keyOf(group);
            if (!this.colours.has(key)) {
                const others = this.groups.map(keyOf).filter((other) => other !== key && this.colours.has(other));
                this.colours.set(key, this.colourFor(group, others.map((other) => this.colours.get(other))));
            }
            return this.colours.get(key);
        }

        /** The group that a chip belongs to; null where it is not selected. */
        groupOf(chip) {
            return this.groups.find((group) => group.includes(chip)) || null;
        }

        remember() {
            return {groups: this.groups.map((group) => group.map((chip) => chip.key)), colours: [...this.colours]};
        }

        /** The same words of another picture; what it has not is left out. */
        restore({groups, colours}) {
            this.groups = groups.map((keys) => matching(this.words, keys)).filter((group) => group.length > 0);
            this.colours = new Map(colours);
            this.groups.filter((group, at) => this.groups.slice(0, at).some((one) => this.isSameColour(one, group))).forEach((group) => {
                this.colours.delete(keyOf(group));
            });
        }

        /** Words that were not selected together may have been given one colour at different times. */
        isSameColour(one, other) {
            const [first, second] = [one, other].map((group) => this.colours.get(keyOf(group)));
            return first !== undefined && first === second;
        }
    }

    const matching = (words, keys) => words.filter((chip) => keys.includes(chip.key));

    Object.assign(SHARED, {Selection, nameChips, phrasesOf, textOf, strengthOf, matching});
    if (typeof module !== "undefined") {
        module.exports = {Selection, nameChips, phrasesOf, textOf, strengthOf, matching};
    }
})();
