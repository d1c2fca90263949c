// One picture with the maps of words over it, and the pointer on it. Knows which words are shown, not why.
//
// A look says how: {opacity, blend, colormap, scale, resolution, step, threshold}.

(function () {
    "use strict";

    const SHARED = (globalThis.attentionHeatmap = globalThis.attentionHeatmap || {});
    const GREY = 1.8; // of the picture under several words, as a factor on the opacity
    const GROUND_SIDE = 32; // of the small picture that colours are chosen against

    class Stage {
        /** `colormaps`: tables by name. `onSpot(rectangle or null)`: which part of the maps is pointed at; null for none. */
        constructor(data, maps, colormaps, onSpot) {
            Object.assign(this, {data, maps, colormaps, onSpot});
            const {make} = SHARED.parts;
            const [left, top, width, height] = data.region || [0, 0, data.width, data.height];
            this.region = {left, top, width, height};
            this.element = make("div", "stage");
            this.picture = document.createElement("img");
            Object.assign(this.picture, {src: data.picture, alt: "the generated picture", draggable: false});
            this.canvas = document.createElement("canvas");
            this.canvas.width = maps.width;
            this.canvas.height = maps.height;
            const part = (of, whole) => `${(100 * of) / whole}%`;
            Object.assign(this.canvas.style, {
                left: part(left, data.width), top: part(top, data.height), width: part(width, data.width), height: part(height, data.height),
            });
            this.box = make("div", "box");
            this.element.append(this.picture, this.canvas, this.box);
            if (onSpot) {
                this.watchPointer();
            }
        }

        // ---- Maps

        /** `groups`: one in the colormap, several each in its colour. `beside`: maps of a picture looked at with this one. */
        draw(groups, colours, look, beside = null) {
            const context = this.canvas.getContext("2d");
            context.clearRect(0, 0, this.canvas.width, this.canvas.height);
            const grey = groups.length > 1 ? Math.min(1, GREY * look.opacity) : 0; // or a word's colour drowns in the picture's
            this.picture.style.filter = grey > 0 ? `grayscale(${grey})` : "";
            if (groups.length === 0) {
                return;
            }
            const scaled = groups.map((group) => this.maps.scaled(group, look, beside));
            const pixels =
                groups.length === 1
                    ? SHARED.maps.colorize(scaled[0], this.colormaps[look.colormap], look.opacity, look.blend)
                    : SHARED.maps.mix(scaled, colours.map(SHARED.rgbOf), look.opacity, look.blend);
            context.putImageData(new ImageData(pixels, this.canvas.width, this.canvas.height), 0, 0);
            if (look.threshold > 0) {
                groups.forEach((group, at) => this.drawOutline(context, group, groups.length > 1 ? colours[at] : "#ffffff", look));
            }
        }

        drawOutline(context, group, colour, look) {
            context.fillStyle = colour;
            SHARED.maps.edges(this.maps.mask([group], look, look.threshold), this.canvas.width).forEach((place) => {
                context.fillRect(place % this.canvas.width, Math.floor(place / this.canvas.width), 1, 1);
            });
        }

        /** The mask of groups at the picture's size, white on black, as a data URL. */
        maskUrl(groups, look, threshold) {
            const inside = this.maps.mask(groups, look, threshold);
            const small = document.createElement("canvas");
            small.width = this.maps.width;
            small.height = this.maps.height;
            const pixels = new Uint8ClampedArray(inside.flatMap((is) => (is ? [255, 255, 255, 255] : [0, 0, 0, 255])));
            small.getContext("2d").putImageData(new ImageData(pixels, small.width, small.height), 0, 0);
            const large = document.createElement("canvas");
            large.width = this.data.width;
            large.height = this.data.height;
            const context = large.getContext("2d");
            context.fillRect(0, 0, large.width, large.height);
            context.imageSmoothingEnabled = false;
            context.drawImage(small, this.region.left, this.region.top, this.region.width, this.region.height);
            return large.toDataURL("image/png");
        }

        /** [[r, g, b], weight] of the picture, by how much a group looks there; what a colour must stand out from. */
        ground(group, look) {
            if (!this.picture.complete || !this.picture.naturalWidth) {
                return [];
            }
            const small = document.createElement("canvas");
            small.width = small.height = GROUND_SIDE;
            const context = small.getContext("2d", {willReadFrequently: true});
            const {left, top, width, height} = this.region;
            context.drawImage(this.picture, left, top, width, height, 0, 0, GROUND_SIDE, GROUND_SIDE);
            const rgba = context.getImageData(0, 0, GROUND_SIDE, GROUND_SIDE).data;
            const map = this.maps.scaled(group, {...look, scale: "each"});
            const place = (at, side) => Math.min(Math.floor(((at + 0.5) / GROUND_SIDE) * side), side - 1);
            return Array.from({length: GROUND_SIDE * GROUND_SIDE}, (_, at) => {
                const row = place(Math.floor(at / GROUND_SIDE), this.maps.height);
                const heat = map[row * this.maps.width + place(at % GROUND_SIDE, this.maps.width)];
                return [[rgba[4 * at], rgba[4 * at + 1], rgba[4 * at + 2]], heat * heat];
            });
        }

        // ---- The pointer

        watchPointer() {
            const on = (name, act) => this.element.addEventListener(name, act);
            on("pointerdown", (event) => {
                this.start = this.placeOf(event);
                this.dragged = null;
                this.box.style.display = "none";
                this.point(event);
            });
            on("pointermove", (event) => this.point(event));
            on("pointerup", () => (this.start = null));
            on("pointercancel", () => (this.start = null));
            on("pointerleave", () => {
                if (!this.dragged) {
                    this.onSpot(null);
                }
            });
        }

        point(event) {
            const [x, y] = this.placeOf(event);
            const hasMoved = this.start && (this.start[0] !== x || this.start[1] !== y);
            if (hasMoved) {
                const [startX, startY] = this.start;
                this.dragged = [Math.min(x, startX), Math.min(y, startY), Math.max(x, startX) + 1, Math.max(y, startY) + 1];
                this.showBox();
                this.onSpot(this.dragged);
            } else if (!this.dragged) {
                this.onSpot([x, y, x + 1, y + 1]);
            }
        }

        forgetBox() {
            this.dragged = null;
            this.box.style.display = "none";
            this.onSpot?.(null);
        }

        placeOf(event) {
            const bounds = this.canvas.getBoundingClientRect();
            const x = Math.floor(((event.clientX - bounds.left) / bounds.width) * this.maps.width);
            const y = Math.floor(((event.clientY - bounds.top) / bounds.height) * this.maps.height);
            return [Math.min(Math.max(x, 0), this.maps.width - 1), Math.min(Math.max(y, 0), this.maps.height - 1)];
        }

        showBox() {
            const [left, top, right, bottom] = this.dragged;
            const across = (x) => `${(100 * (this.region.left + (x / this.maps.width) * this.region.width)) / this.data.width}%`;
            const down = (y) => `${(100 * (this.region.top + (y / this.maps.height) * this.region.height)) / this.data.height}%`;
            Object.assign(this.box.style, {
                display: "block", left: across(left), top: down(top),
                width: `calc(${across(right)} - ${across(left)})`, height: `calc(${down(bottom)} - ${down(top)})`,
            });
        }
    }

    SHARED.Stage = Stage;
})();
