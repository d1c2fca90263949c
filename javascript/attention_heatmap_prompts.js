// One side of the prompt, "positive" or "negative": its edits, and the page's own box for it.
//
// `page` is what the page offers, each of it optional: readPrompt(side) gives the text of its box, onPromptChange(text,
// side) writes it, freshFrames(text, side) promises how the words of a typed text can be edited (or fails).

(function () {
    "use strict";

    const SHARED = (globalThis.attentionHeatmap = globalThis.attentionHeatmap || {});
    const NOTHING = {words: [], brackets: [], glued: [], tags: []};

    class PromptSide {
        /** `onChange()`: the text, or what is known of its words, is another now. `onBusy(isBusy)`: it is being read. */
        constructor(side, data, page, remembered, {onChange, onBusy}) {
            Object.assign(this, {side, page, onChange, onBusy});
            this.edits = new SHARED.PromptEdits(data ? data.prompt : "", (data && data.frames) || NOTHING);
            if (remembered) {
                this.edits.adopt(remembered, this.typed());
            }
        }

        get prompt() {
            return this.edits.prompt;
        }

        /** The text of the page's box; undefined where it has none. */
        typed() {
            return this.page.readPrompt?.(this.side);
        }

        /** Takes over what the user types into the page's box, without reading its words yet. */
        follow() {
            const typed = this.typed();
            if (typed !== undefined && typed !== this.prompt) {
                this.edits.retype(typed);
                this.onChange();
            }
        }

        /** What the user has typed into the page's box is kept, and its words are known. */
        async read() {
            this.follow();
            await this.readWords();
        }

        /** Asks how the words of what was typed can be edited; a button pressed meanwhile acts as soon as that is known. */
        readWords() {
            const read = async () => {
                while (!this.edits.frames) {
                    this.onBusy(true);
                    const typed = this.edits.base;
                    const frames = await this.page.freshFrames?.(typed, this.side).catch(() => null);
                    if (typed === this.edits.base) {
                        this.edits.takeFrames(frames);
                        this.onChange();
                    }
                }
                this.onBusy(false);
            };
            this.reading = this.reading || read().finally(() => (this.reading = null));
            return this.reading;
        }

        /** Typed into the viewer's box, which is the page's prompt. */
        type(text) {
            this.edits.retype(text);
            this.onChange();
            this.page.onPromptChange?.(text, this.side);
        }

        /** Changes the text and writes it to the page. `act` may throw a RewritingError, whose message is returned. */
        async change(act) {
            await this.read();
            const before = this.prompt;
            let trouble = "";
            try {
                act(this.edits);
            } catch (error) {
                if (!(error instanceof SHARED.RewritingError)) {
                    throw error;
                }
                trouble = error.message;
            }
            this.onChange();
            if (this.prompt !== before) {
                this.page.onPromptChange?.(this.prompt, this.side);
            }
            return {trouble, isChanged: this.prompt !== before};
        }
    }

    SHARED.PromptSide = PromptSide;
})();
