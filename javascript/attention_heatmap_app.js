// In the page of `daam ui`, whose viewer lies in a frame: connects the viewer with the boxes of the page around it.
// Does nothing anywhere else.

(function () {
    "use strict";

    const SHARED = (globalThis.attentionHeatmap = globalThis.attentionHeatmap || {});
    const around = globalThis.frameElement ? globalThis.parent.document : null;
    const boxOf = (id) => around.querySelector(`#${id} textarea, #${id} input`);

    function write(id, text) {
        const box = boxOf(id);
        box.value = text;
        box.dispatchEvent(new Event("input", {bubbles: true}));
    }

    function saveReport() {
        const url = URL.createObjectURL(new Blob([globalThis.frameElement.srcdoc], {type: "text/html"}));
        SHARED.viewer.save(url, "report.html");
        URL.revokeObjectURL(url);
    }

    if (around && boxOf("prompt") && boxOf("terms")) {
        SHARED.callbacks = {
            readPrompt: () => boxOf("prompt").value,
            onPromptChange: (prompt) => write("prompt", prompt),
            onUseTerms: (terms) => write("terms", terms),
            onSaveReport: saveReport,
        };
    }
})();
