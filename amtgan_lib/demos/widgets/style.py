"""How the widgets look: one sheet for all of them, in JupyterLab (light and dark) and voila.

Colours are Okabe and Ito's, safe for colour-blind readers, and never stand alone: words or signs say the same.
"""

SHEET = """
<style>
.amtgan { max-width: 1000px; gap: 14px; font-size: 14px; line-height: 1.45; color: var(--jp-ui-font-color1, #222); }
.amtgan .widget-html, .amtgan .widget-html-content { height: auto; margin: 0; line-height: 1.45; font-size: 14px;
  white-space: normal; color: inherit; overflow: visible; }
.amtgan .widget-html-content { width: 100%; }
.amtgan h3 { margin: 0 0 6px; font-size: 14px; font-weight: 600; color: inherit; }
.amtgan h3 b { display: inline-block; min-width: 20px; height: 20px; margin-right: 6px; border-radius: 10px;
  background: #0072B2; color: #fff; text-align: center; line-height: 20px; font-size: 12px; }
.amtgan p { margin: 8px 0 0; font-size: 13px; }
.amtgan small, .amtgan .quiet { font-size: 12px; color: var(--jp-ui-font-color2, #666); }

/* A page of voila serves no other notebooks and no code: what links to them reads as text. */
body[data-voila] a[href$=".ipynb"], body[data-voila] a[href$=".py"] { pointer-events: none; color: inherit;
  text-decoration: none; }

.amtgan-card { border: 1px solid var(--jp-border-color2, #e0e0e0); border-radius: 12px; padding: 14px 16px;
  background: var(--jp-layout-color1, #fff); box-sizing: border-box; overflow: hidden; }
.amtgan-columns { display: flex; flex-flow: row wrap; gap: 14px; align-items: flex-start; overflow: visible; }
.amtgan-narrow { flex: 1 1 380px; max-width: 440px; }
.amtgan-wide { flex: 1 1 400px; min-width: 0; gap: 14px; }

.amtgan-row { display: flex; flex-flow: row wrap; align-items: center; gap: 4px 14px; overflow: visible; }
.amtgan-row > .widget-html { flex: 0 0 176px; }
.amtgan-row h3 { margin: 0; }
.amtgan-shelf { display: flex; flex-flow: row wrap; gap: 8px; padding: 5px; overflow: visible; align-items: center; }
.amtgan-shelf .jupyter-button { width: 56px; height: 56px; margin: 0; padding: 2px; border-radius: 12px;
  overflow: hidden; border: 1px solid var(--jp-border-color2, #ccc); background-color: var(--jp-layout-color2, #f3f3f3);
  color: var(--jp-ui-font-color1, #333); background-size: cover; background-position: center 30%; font-size: 12px;
  line-height: 1.2; white-space: normal; box-shadow: none; }
.amtgan-shelf .jupyter-button:hover, .amtgan-shelf .jupyter-button:focus-visible { outline: 2px solid #56B4E9; }
.amtgan-shelf .jupyter-button.amtgan-chosen { outline: 3px solid #0072B2; outline-offset: 1px; border-color: #fff; }
.amtgan .amtgan-upload { font-size: 0; border: 1.5px dashed var(--jp-border-color1, #999); }
.amtgan .amtgan-upload i { display: block; font-size: 15px; margin: 0 0 2px; }
.amtgan .amtgan-upload::after { font-size: 11px; content: "upload"; }
.amtgan .amtgan-known { width: auto; height: 28px; align-self: flex-start; line-height: 26px;
  margin: 2px 0 8px; padding: 0 12px; border-radius: 8px; background: none; }
.amtgan .amtgan-known i { display: inline; font-size: 12px; margin-right: 6px; }
.amtgan .amtgan-known::after { content: "hide from another photo of this person"; font-size: 12px; }

.amtgan-picture { width: 100%; aspect-ratio: 1; object-fit: contain; border-radius: 8px; background: #00000010;
  margin: 0; }
.amtgan-position { width: 100%; margin: 6px 0 0; height: 22px; }
.amtgan-position .slider-container { margin: 0 !important; width: 100%; }
.amtgan .amtgan-both { position: relative; overflow: visible; }
.amtgan .amtgan-sides { position: absolute; inset: 8px 8px auto; pointer-events: none; }
.amtgan .amtgan-sides .widget-html-content { display: flex; }
.amtgan-sides b { padding: 1px 9px; border-radius: 9px; background: #000000a0; color: #fff; font-size: 12px; }
.amtgan-sides .after { margin-left: auto; }

.amtgan-message .widget-html-content > div { padding: 7px 12px; border-radius: 8px;
  background: var(--jp-layout-color2, #f3f3f3); }
.amtgan-message .widget-html-content > .problem { background: #fbe6dc; color: #8a3200; }
.amtgan-message .working::before { content: ""; display: inline-block; width: 10px; height: 10px; margin-right: 8px;
  border: 2px solid #0072B2; border-right-color: transparent; border-radius: 50%;
  animation: amtgan-turn 0.9s linear infinite; }
@keyframes amtgan-turn { to { transform: rotate(360deg); } }

.amtgan-verdict { font-size: 16px; font-weight: 600; margin-bottom: 10px; display: flex; align-items: center;
  gap: 10px; }
.amtgan-sign { flex: none; display: inline-block; width: 26px; height: 26px; line-height: 26px; border-radius: 50%;
  text-align: center; color: #fff; font-size: 15px; }
.amtgan-meter { display: grid; grid-template-columns: minmax(0, 1fr) auto; column-gap: 10px; margin-bottom: 9px; }
.amtgan-track { grid-column: 1 / 3; position: relative; height: 14px; border-radius: 7px;
  background: #8080803a; }
.amtgan-fill { position: absolute; left: 0; top: 0; bottom: 0; border-radius: 7px; transition: width 0.15s; }
.amtgan-limit { position: absolute; top: -3px; bottom: -3px; width: 0;
  border-left: 2.5px solid var(--jp-ui-font-color1, #111); }
.amtgan-lax { position: absolute; top: 0; bottom: 0; width: 0;
  border-left: 1.5px dotted var(--jp-ui-font-color1, #111); }
.amtgan-before { position: absolute; top: 2px; width: 10px; height: 10px; margin-left: -5px; transform: rotate(45deg);
  background: var(--jp-layout-color1, #fff); border: 2px solid #767676; box-sizing: border-box; }
.amtgan-visible { margin: 12px 0 6px; }
.amtgan-visible b { white-space: nowrap; }
.amtgan-chip { padding: 0 8px; border-radius: 9px; font-size: 12px; font-weight: 600; white-space: nowrap; }
.amtgan-chip.protected { background: #dcecf7; color: #004c78; }
.amtgan-chip:is(.weak, .unproven) { background: #fbeccd; color: #6b4300; }
.amtgan-chip:is(.not, .no) { background: #fbe0d3; color: #8a3200; }

.amtgan-slider { width: 100%; margin: 0; }
.amtgan-slider .widget-label { color: inherit; }
.amtgan-slider .widget-readout { min-width: 46px; color: inherit; text-align: right; border: none; }
.amtgan-stale { opacity: 0.4; }
.amtgan-table { border-collapse: collapse; width: 100%; font-size: 12px; }
.amtgan-table th { text-align: left; font-weight: 600; padding: 3px 6px;
  border-bottom: 1px solid var(--jp-border-color2, #ddd); }
.amtgan-table td { padding: 4px 6px; border-bottom: 1px solid var(--jp-border-color3, #eee); vertical-align: top; }
.amtgan-table td b { font-variant-numeric: tabular-nums; }
.amtgan-curve { width: 100%; height: auto; border-radius: 8px; margin: 0; }

.results-table { font-variant-numeric: tabular-nums; margin-top: 10px; }
.results-table td, .results-table th { text-align: right; }
.results-table th:first-child { text-align: left; font-weight: normal; padding-left: 8px; }
.results-table .chosen { background: #80808020; font-weight: bold; }
.results-photos { display: flex; flex-wrap: wrap; gap: 14px; margin: 4px 0 14px; }
.results-photos figure { margin: 0; font-size: 12px; line-height: 1.35; border-top: 4px solid; padding-top: 4px; }
.results-photos img { width: 112px; height: 112px; object-fit: cover; margin-right: 2px; }
.results-photos .good { border-color: #0072B2; } .results-photos .bad { border-color: #D55E00; }

/* A page of voila leaves out what is about the notebook: cells tagged so, and all of an intro after its first words. */
[data-voila] :is(.celltag_notebook-only, .amtgan-notebook-only, .celltag_intro > ul, .celltag_intro > p ~ p) {
  display: none; }

.amtgan .amtgan-save { width: auto; height: 32px; padding: 0 16px; margin: 0; border-radius: 8px;
  background: #0072B2; color: #fff; }
.amtgan a.amtgan-link { color: #0072B2; font-weight: 600; }
</style>
"""
