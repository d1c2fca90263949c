// Puts the viewer under the WebUI's gallery when a generation has heat maps, and fills the panel's terms from the prompt
// when its button is pressed. Does nothing, and asks nothing, otherwise.
(function () {
    "use strict";

    const SHARED = (globalThis.attentionHeatmap = globalThis.attentionHeatmap || {});
    const ROUTE = "attention-heatmap/v1/results";
    const FRAMES = "attention-heatmap/v1/frames";
    const KEY = "Attention Heatmap result";
    const INPAINT_UPLOAD = 4; // its number among the tabs of img2img
    const MOST_KEPT = 8; // data of pictures, so that going through a gallery asks once
    const SETTLED_AFTER = 2000; // milliseconds
    const PROMPTS = {positive: "prompt", negative: "neg_prompt"};
    const termsField = (tab) => `#${tab}_attention_heatmap_terms textarea, #${tab}_attention_heatmap_terms input`;
    const promptField = (tab, side = "positive") => `#${tab}_${PROMPTS[side]} textarea`;
    const shown = {}; // by tab: the generation that is shown under the gallery
    const earlier = {}; // by tab: the viewer of an earlier picture in the panel
    const memory = {}; // by tab: what the viewers hand on to each other
    const generations = {}; // by tab: ids of the last generation and of the one before
    const kept = new Map(); // data of pictures, by id and number

    function find(selector) {
        return gradioApp().querySelector(selector);
    }

    /** What the WebUI's hidden box says of the last generation: the id of its heat maps, and where the pictures begin. */
    function lastGeneration(tab) {
        const box = find(`#generation_info_${tab} textarea`);
        try {
            const info = JSON.parse(box.value);
            const id = (info.extra_generation_params || {})[KEY];
            return id ? {id, first: info.index_of_first_image, count: info.all_prompts.length, info} : null;
        } catch {
            return null;
        }
    }

    function thumbnails(tab) {
        const strip = gradioApp().querySelectorAll(`#${tab}_gallery .thumbnails > .thumbnail-item`);
        return strip.length > 0 ? [...strip] : [...gradioApp().querySelectorAll(`#${tab}_gallery .thumbnail-item`)];
    }

    /** Number of the generated picture that the gallery shows; the first where it shows a grid or all of them. */
    function chosenPicture(tab, generation) {
        const selected = thumbnails(tab).findIndex((each) => each.classList.contains("selected"));
        const number = selected - generation.first;
        return number >= 0 && number < generation.count ? number : 0;
    }

    /** By it the server knows a picture that another script shows, such as a cell of X/Y/Z plot. */
    const infotextOf = (generation, picture) => generation.info.infotexts?.[generation.first + picture] || "";

    function place(tab) {
        let element = find(`#${tab}_attention_heatmap_result`);
        if (!element) {
            const results = find(`#${tab}_results`);
            if (!results) {
                return null;
            }
            element = document.createElement("div");
            element.id = `${tab}_attention_heatmap_result`;
            results.append(element);
        }
        return element;
    }

    /** The viewer that is there stays, greyed, until the next one's data have come. */
    async function show(tab, generation, picture) {
        const key = `${generation.id} ${picture}`;
        const element = shown[tab]?.key === key ? null : place(tab);
        if (!element) {
            return;
        }
        rememberGeneration(tab, generation.id);
        const old = shown[tab];
        const entry = (shown[tab] = {key, viewer: old?.viewer});
        sayBusy(element, "Reading the heat maps…");
        const [data, before] = await Promise.all([viewerData(generation.id, picture, infotextOf(generation, picture)), dataBefore(tab, picture)]);
        if (shown[tab] !== entry) {
            return;
        }
        forget(tab, entry.viewer);
        entry.viewer = null;
        sayBusy(element, data ? "" : "The heat maps of this picture are no longer kept: generate it again to see them.");
        if (data) {
            const image = thumbnails(tab)[generation.first + picture]?.querySelector("img");
            const isPicture = image?.naturalWidth === data.width && image.naturalHeight === data.height; // and no grid
            const made = {info: generation.info, number: picture, picture: isPicture ? image.src : data.picture};
            entry.viewer = mount(element, data, callbacks(tab, data, made), {...memory[tab], earlier: before});
        }
    }

    const mount = (element, ...rest) => SHARED.viewer.mount(element, ...rest);

    function rememberGeneration(tab, id) {
        if (generations[tab]?.[0] !== id) {
            generations[tab] = [id, generations[tab]?.[0]];
        }
    }

    const dataBefore = (tab, picture) => (generations[tab][1] ? viewerData(generations[tab][1], picture) : null);

    /** A line in place of the viewer, or above the one that is being replaced. */
    function sayBusy(element, text) {
        element.querySelector(":scope > .attention-heatmap-loading")?.remove();
        element.setAttribute("aria-busy", String(text.endsWith("…")));
        if (text) {
            const line = document.createElement("p");
            line.className = "attention-heatmap-loading";
            line.setAttribute("role", "status");
            line.textContent = text;
            element.prepend(line);
        }
    }

    /** Null where the server knows the generation no more, or has no such picture. */
    async function viewerData(id, picture, infotext = "") {
        const key = `${id} ${picture}`;
        if (!kept.has(key)) {
            const answer = await ask(`${ROUTE}/${encodeURIComponent(id)}/viewer/${picture}`, {infotext}).catch(() => null);
            const data = answer?.ok ? await answer.json() : null;
            if (!data) {
                return null;
            }
            kept.set(key, data);
            [...kept.keys()].slice(0, -MOST_KEPT).forEach((old) => kept.delete(old));
        }
        return kept.get(key);
    }

    function forget(tab, viewer) {
        if (viewer) {
            memory[tab] = viewer.remember();
            viewer.destroy();
        }
    }

    function hide(tab) {
        forget(tab, shown[tab]?.viewer);
        delete shown[tab];
        place(tab)?.replaceChildren();
    }

    function write(selector, text) {
        const box = find(selector);
        if (box) {
            box.value = text;
            updateInput(box);
        }
    }

    async function asFile(url, name) {
        const blob = await (await fetch(url)).blob();
        return new File([blob], name, {type: blob.type});
    }

    /** As a file that is dropped on an image box; SD.Next keeps its function for that to itself. */
    function putFile(box, list) {
        if (typeof dropReplaceImage === "function") {
            dropReplaceImage(box, list);
            return;
        }
        box.querySelector("button[aria-label=Clear]")?.click();
        setTimeout(() => {
            const input = box.querySelector("input[type=file]");
            input.files = list;
            input.dispatchEvent(new Event("change"));
        }, 0);
    }

    /** Opens "Inpaint upload" with the picture and the mask, and what it was made with, as the WebUI's own button does. */
    async function sendMask(picture, mask, made) {
        const files = {img_inpaint_base: await asFile(picture, "picture.png"), img_inpaint_mask: await asFile(mask, "mask.png")};
        const fields = {
            [promptField("img2img")]: made.prompt, [promptField("img2img", "negative")]: made.negative, "#img2img_seed input": made.seed,
            "#img2img_width input[type=number]": made.width, "#img2img_height input[type=number]": made.height,
        };
        Object.entries(fields).filter(([, value]) => value !== undefined).forEach(([field, value]) => write(field, value));
        switch_to_img2img_tab(INPAINT_UPLOAD);
        for (const [id, file] of Object.entries(files)) {
            const list = new DataTransfer();
            list.items.add(file);
            putFile(find(`#${id}`), list.files);
        }
        keepInView(find("#img_inpaint_mask"), Object.keys(files).map((id) => find(`#${id}`)));
    }

    /** For the moment in which tabs open and boxes grow to their pictures; the page stands where the viewer was. */
    function keepInView(element, growing) {
        const observer = new ResizeObserver(() => element.scrollIntoView({block: "center"}));
        growing.forEach((each) => observer.observe(each));
        setTimeout(() => observer.disconnect(), SETTLED_AFTER);
    }

    /** What a picture was made with, as far as it is known. */
    function madeWith({width, height, prompts}, info, number) {
        const textOf = (side) => prompts.find((each) => each.side === side)?.prompt;
        const of = (name, other) => info?.[name]?.[number] ?? other;
        return {
            width, height, seed: of("all_seeds"),
            prompt: of("all_prompts", textOf("positive")), negative: of("all_negative_prompts", textOf("negative")),
        };
    }

    const ask = (route, what) => fetch(route, {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(what)});

    /** The words of a typed prompt: how they can be edited, and the terms for them. */
    async function readPrompt(prompt, side = "positive") {
        const answer = await ask(FRAMES, {prompt, negative: side === "negative"});
        if (!answer.ok) {
            throw new Error(`the prompt was not read: ${answer.status}`);
        }
        return answer.json();
    }

    /** The panel's "Fill from prompt". */
    async function fillTerms(tab) {
        const {terms} = await readPrompt(find(promptField(tab)).value);
        write(termsField(tab), terms.join(", "));
    }

    /** Viewers follow what is typed, and read its words when the user leaves the box, so that buttons need not wait. */
    function watchPrompt(tab) {
        for (const side of Object.keys(PROMPTS)) {
            const box = find(promptField(tab, side));
            if (box && !box.dataset.attentionHeatmap) {
                box.dataset.attentionHeatmap = "watched";
                const viewers = () => [shown[tab]?.viewer, earlier[tab]].filter(Boolean);
                box.addEventListener("input", () => viewers().forEach((viewer) => viewer.follow()));
                box.addEventListener("change", () => viewers().forEach((viewer) => viewer.read()));
            }
        }
    }

    function callbacks(tab, data, {info, number, picture}) {
        watchPrompt(tab);
        return {
            freshFrames: async (prompt, side) => (await readPrompt(prompt, side)).frames,
            readPrompt: (side) => find(promptField(tab, side))?.value,
            onPromptChange: (prompt, side) => write(promptField(tab, side), prompt),
            onGenerate: () => find(`#${tab}_generate`).click(),
            onUseTerms: (terms) => write(termsField(tab), terms),
            onSendMask: (mask) => sendMask(picture, mask, madeWith(data, info, number)),
            onSaveReport: async (state) => {
                const page = await (await fetch(`${ROUTE}/${encodeURIComponent(data.result.id)}/report`)).text();
                SHARED.parts.savePage(SHARED.parts.pageWithState(page, state), "report.html");
            },
        };
    }

    /** Shows the maps of an earlier picture in the panel; an empty id takes them away. Called by the panel itself. */
    async function showEarlier(tab, id) {
        const element = find(`#${tab}_attention_heatmap_earlier_viewer`);
        earlier[tab]?.destroy();
        delete earlier[tab];
        sayBusy(element, id ? "Reading the heat maps…" : "");
        const data = id && (await viewerData(id, 0));
        sayBusy(element, "");
        if (data) {
            earlier[tab] = mount(element, data, callbacks(tab, data, {number: 0, picture: data.picture}));
        }
    }

    function update() {
        for (const tab of ["txt2img", "img2img"]) {
            const generation = lastGeneration(tab);
            if (generation) {
                show(tab, generation, chosenPicture(tab, generation));
            } else if (shown[tab]) {
                hide(tab);
            }
        }
    }

    globalThis.attentionHeatmapShowEarlier = showEarlier;
    globalThis.attentionHeatmapFillTerms = fillTerms;
    globalThis.attentionHeatmapPrompt = (tab) => find(promptField(tab)).value;
    if (typeof onAfterUiUpdate === "function") {
        onAfterUiUpdate(update);
    }
})();
