// Small parts of the viewer's page. Text from prompts only ever goes through textContent.

(function () {
    "use strict";

    const SHARED = (globalThis.attentionHeatmap = globalThis.attentionHeatmap || {});

    function make(tag, className, text) {
        const element = document.createElement(tag);
        element.className = className ? `attention-heatmap-${className}` : "";
        if (text !== undefined) {
            element.textContent = text;
        }
        return element;
    }

    function button(className, text, label, onClick) {
        const element = make("button", className, text);
        element.type = "button";
        describe(element, label);
        element.addEventListener("click", (event) => element.getAttribute("aria-disabled") !== "true" && onClick(event));
        return element;
    }

    /** What a button does; its name for those who cannot see it too, where it shows no word. */
    function describe(element, label) {
        element.title = label;
        if (/\p{L}/u.test(element.textContent)) {
            element.removeAttribute("aria-label");
        } else {
            element.setAttribute("aria-label", label);
        }
    }

    /** Greyed buttons keep their place and the focus, and do nothing. */
    function enable(element, isEnabled) {
        element.setAttribute("aria-disabled", String(!isEnabled));
    }

    function slider(value, max = 1, step = 0.01) {
        const input = document.createElement("input");
        Object.assign(input, {type: "range", min: 0, max, step, value});
        return input;
    }

    function select(names, value) {
        const input = document.createElement("select");
        for (const [name, text] of names.map((each) => (Array.isArray(each) ? each : [each, each]))) {
            const option = document.createElement("option");
            Object.assign(option, {value: name, textContent: text});
            input.append(option);
        }
        input.value = value;
        return input;
    }

    /** Buttons behind one; closes by a choice, a click elsewhere, or Escape. */
    function menu(text, items) {
        const box = make("details", "menu");
        const summary = make("summary", "action", text);
        const list = make("div", "menu-items");
        list.append(...items);
        box.append(summary, list);
        const close = () => (box.open = false);
        list.addEventListener("click", close);
        box.addEventListener("focusout", (event) => !box.contains(event.relatedTarget) && event.relatedTarget && close());
        box.addEventListener("keydown", (event) => {
            if (event.key === "Escape" && box.open) {
                close();
                summary.focus();
                event.stopPropagation();
            }
        });
        const outside = (event) => !box.contains(event.target) && close();
        box.addEventListener("toggle", () => document[box.open ? "addEventListener" : "removeEventListener"]("pointerdown", outside));
        return box;
    }

    function save(url, name) {
        const link = document.createElement("a");
        Object.assign(link, {href: url, download: name});
        link.click();
    }

    /** Browsers offer the clipboard to pages of a secure address only; elsewhere a selected text is copied. */
    async function copy(text, root) {
        if (navigator.clipboard) {
            await navigator.clipboard.writeText(text);
            return;
        }
        const box = make("textarea", "");
        box.value = text;
        root.append(box);
        box.select();
        document.execCommand("copy");
        box.remove();
    }

    /** A saved page that begins as this one looks now; `state` of the viewer's remember(). */
    function pageWithState(page, state) {
        const escaped = JSON.stringify(state).replace(/[&<>\u2028\u2029]/gu, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);
        return page.replace(/(<script type="application\/json" id="state">)[^<]*/u, (_, start) => start + escaped);
    }

    function savePage(page, name) {
        const url = URL.createObjectURL(new Blob([page], {type: "text/html"}));
        save(url, name);
        setTimeout(() => URL.revokeObjectURL(url), 10000);
    }

    const percent = (value) => `${(100 * value).toFixed(value < 0.0995 ? 1 : 0)} %`;
    /** Percentage points; what rounds to nothing has no direction. */
    const change = (value) => {
        const size = Math.abs(100 * value).toFixed(1);
        return `${size === "0.0" ? "±" : value < 0 ? "−" : "+"}${size}`;
    };

    SHARED.parts = {make, button, describe, enable, slider, select, menu, save, savePage, pageWithState, copy, percent, change};
})();
