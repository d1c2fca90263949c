// In the page of `daam ui`, whose viewer lies in a frame: connects the viewer with the boxes of the page around it.
// Does nothing anywhere else.

(function () {
    "use strict";

    const SHARED = (globalThis.attentionHeatmap = globalThis.attentionHeatmap || {});
    const BOXES = {positive: "prompt", negative: "negative"};
    const around = globalThis.frameElement ? globalThis.parent.document : null;
    const boxOf = (id) => around.querySelector(`#${id} textarea, #${id} input`);

    function write(id, text) {
        const box = boxOf(id);
        box.value = text;
        box.dispatchEvent(new Event("input", {bubbles: true}));
    }

    function saveReport(state) {
        SHARED.parts.savePage(SHARED.parts.pageWithState(globalThis.frameElement.srcdoc, state), "report.html");
    }

    /** The frame is a new one for each result; what its viewers hand on lies in the page around it, as plain text. */
    function memoryOf(data) {
        const kept = around.attentionHeatmapMemory;
        const memory = kept ? JSON.parse(kept.read()) : {};
        return {...memory, earlier: kept && kept.data.picture !== data.picture ? kept.data : kept?.before};
    }

    function onMount(viewer, data, number) {
        if (number === 0) {
            const kept = around.attentionHeatmapMemory;
            const before = kept && kept.data.picture !== data.picture ? kept.data : kept?.before;
            around.attentionHeatmapMemory = {data: JSON.parse(JSON.stringify(data)), before, read: () => JSON.stringify(viewer.remember())};
        }
    }

    if (around && boxOf("prompt") && boxOf("terms")) {
        Object.assign(SHARED, {memoryOf, onMount, isDark: around.body.classList.contains("dark")});
        document.body.style.background = "transparent";
        SHARED.callbacks = {
            readPrompt: (side) => boxOf(BOXES[side]).value,
            onPromptChange: (prompt, side) => write(BOXES[side], prompt),
            onGenerate: () => around.querySelector("#generate").click(),
            isShortcutOurs: true,
            onUseTerms: (terms) => write("terms", terms),
            onSaveReport: saveReport,
        };
    }
})();
