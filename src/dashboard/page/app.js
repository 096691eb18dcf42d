// The page of one agent. Every text comes from the agent and is shown as text: nothing here is made into HTML.
'use strict';
(() => {
  const main = document.getElementById('main');
  const views = {};
  let now = null;      // the view of the agent
  let before = null;   // and the one before
  let current = '';
  let events = null;

  // ---- small things
  const el = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === undefined || value === false) continue;
      if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value === true ? '' : value);
    }
    node.append(...children.filter(child => child !== undefined && child !== null));
    return node;
  };
  const set = (node, text) => { if (node.textContent !== text) node.textContent = text; };
  const size = bytes => {
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
    let at = 0;
    while (bytes >= 1024 && at < units.length - 1) { bytes /= 1024; at += 1; }
    return `${at ? bytes.toFixed(1) : bytes} ${units[at]}`;
  };
  const span = seconds => {
    seconds = Math.max(0, Math.round(seconds));
    if (seconds < 60) return `${seconds} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
    if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds % 3600 / 60)} min`;
    return `${Math.floor(seconds / 86400)} d ${Math.floor(seconds % 86400 / 3600)} h`;
  };
  const count = number => number.toLocaleString('en').replaceAll(',', '\u202f');
  const time = ms => new Date(ms).toISOString().replace('T', ' ').replace(/\.\d+Z$/, 'Z');
  const rate = number => number >= 100 || number === 0 ? count(Math.round(number)) : number.toFixed(1);
  const ask = async path => {
    const answer = await fetch(path, { cache: 'no-store' });
    if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
    return answer.json();
  };
  /** Asks for a change; the answer in words, and whether it was made. */
  const change = async (path, body) => {
    const answer = await fetch(path, { method: 'POST', body: String(body) });
    const text = await answer.text();
    return [answer.ok, answer.ok ? JSON.parse(text) : text];
  };
  /** The number of dead letters that nobody has replayed or discarded. */
  const letters = () => {
    const stream = now.streams.find(stream => stream.name === 'forebay.dead-letters');
    return stream ? Math.max(0, stream.last + 1 - Math.max(stream.first, now.open_dead_letters_from)) : 0;
  };
  /** How fast a number of a part rises, in units a second; null when it is not known. */
  const speed = (part, name) => {
    const old = before && before.parts.find(other => other.kind === part.kind && other.name === part.name);
    const seconds = before ? (now.now_ms - before.now_ms) / 1000 : 0;
    if (!old || seconds <= 0) return null;
    const risen = (part.numbers[name] || 0) - (old.numbers[name] || 0);
    return risen < 0 ? null : risen / seconds;
  };
  const waiting = part => part.waits.reduce((sum, waits) => sum + waits.records, 0);
  const oldest = parts => {
    const all = parts.flatMap(part => part.waits).filter(waits => waits.records > 0 && waits.oldest_ms !== null);
    return all.length ? Math.max(0, (now.now_ms - Math.min(...all.map(waits => waits.oldest_ms))) / 1000) : null;
  };
  const state = part => part.is_good ? 'good' : part.health === 'failed' ? 'bad' : 'wait';

  // ---- the head of the page
  const head = () => {
    const broken = now.parts.filter(part => !part.is_good);
    const verdict = document.getElementById('verdict');
    const sinks = now.parts.filter(part => part.kind === 'sink');
    const behind = oldest(sinks);
    let [kind, text] = ['good', 'All works'];
    if (broken.length) [kind, text] = ['bad', `${broken.length} of ${now.parts.length} need attention`];
    else if (now.alerts.length) [kind, text] = ['bad', `${now.alerts.length} active alert${now.alerts.length > 1 ? 's' : ''}`];
    else if (behind !== null && behind > 60) [kind, text] = ['wait', `Delivers with a lag of ${span(behind)}`];
    verdict.className = kind;
    set(verdict, text);
    set(document.getElementById('device'), now.device);
    document.title = `${kind === 'good' ? '' : '⚠ '}${now.device} · Forebay`;
    const clock = now.clock_is_set ? '' : ' · the clock is not set';
    set(document.getElementById('about'), `Forebay ${now.version} · up ${span(now.uptime_s)} · configuration ${now.generation}${clock}`);
    const alerts = document.getElementById('alert-count');
    alerts.hidden = !now.alerts.length;
    set(alerts, String(now.alerts.length));
    const open = document.getElementById('letter-count');
    open.hidden = !letters();
    set(open, count(letters()));
  };

  // ---- overview: what flows, what waits
  views.overview = () => {
    const columns = ['Sources', 'Streams', 'Sinks'].map(title => el('section', { class: 'column', 'aria-label': title }));
    const lines = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    lines.setAttribute('aria-hidden', 'true');
    const facts = {};
    const fact = (name, title) => { facts[name] = el('output'); return el('div', { class: 'fact' }, el('h3', {}, title), facts[name]); };
    const chart = el('div', { class: 'chart', role: 'img', 'aria-label': 'What waited over the last day' });
    main.replaceChildren(
      el('div', { class: 'flow' }, ...columns, lines),
      el('div', { class: 'facts' },
        fact('records', 'Waits'), fact('age', 'Oldest of it'), fact('bytes', 'Takes on disk'), fact('fill', 'Store'),
        fact('memory', 'Memory'), fact('dead', 'Dead letters')),
      el('h2', {}, 'What waited'), chart);
    columns.forEach((column, at) => column.append(el('h3', {}, ['Sources', 'Streams', 'Sinks'][at])));
    const cards = new Map();
    const card = (column, id) => {
      if (!cards.has(id)) {
        const parts = { state: el('span', { class: 'state' }), rate: el('div', { class: 'rate' }), facts: el('div', { class: 'soft' }), why: el('div', { class: 'why' }) };
        const name = column === columns[1] ? `streams/${encodeURIComponent(id.slice(7))}` : `part/${encodeURIComponent(id)}`;
        parts.name = el('a', { class: 'name', href: `#${name}` });
        parts.node = el('article', { class: 'card' }, parts.state, parts.name, parts.rate, parts.facts, parts.why);
        column.append(parts.node);
        cards.set(id, parts);
      }
      return cards.get(id);
    };
    let plot = null;
    const data = [[], [], []];
    const drawn = () => {
      if (typeof uPlot === 'undefined' || data[0].length < 2) return;
      const style = getComputedStyle(document.body);
      const [soft, grid, line, wait] = ['--soft', '--line', '--accent', '--wait'].map(name => style.getPropertyValue(name).trim());
      const width = Math.max(240, chart.clientWidth - 16);
      if (plot) { plot.setSize({ width, height: 220 }); plot.setData(data); return; }
      const axis = { stroke: soft, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 } };
      plot = new uPlot({
        width, height: 220,
        series: [{}, { label: 'records', stroke: line, width: 2, fill: line + '22' }, { label: 'age (s)', stroke: wait, width: 2, scale: 'age' }],
        axes: [axis, { ...axis, size: 70 }, { ...axis, scale: 'age', side: 1, grid: { show: false }, size: 60 }],
        // At least the last ten minutes.
        scales: { x: { range: (_, least, most) => [Math.min(least, most - 600), most] }, y: { range: (_, __, most) => [0, Math.max(10, most * 1.1)] }, age: { range: (_, __, most) => [0, Math.max(10, most * 1.1)] } },
      }, data, chart);
    };
    ask('api/v1/history').then(points => {
      if (current !== 'overview') return;
      // What was drawn meanwhile is newer.
      const older = points.filter(point => !data[0].length || point.at_ms / 1000 < data[0][0]);
      [point => point.at_ms / 1000, point => point.records, point => point.age_ms / 1000].forEach((of, at) => data[at].unshift(...older.map(of)));
      drawn();
    }).catch(() => {});
    const resized = () => { draw(); drawn(); };
    addEventListener('resize', resized);
    const draw = () => {
      const box = lines.getBoundingClientRect();
      if (!box.width || !now) return;
      const wanted = [];
      for (const part of now.parts) {
        const id = `${part.kind} ${part.name}`;
        for (const stream of part.streams) {
          if (!cards.has(`stream ${stream}`)) continue;
          const [from, to] = part.kind === 'source' ? [id, `stream ${stream}`] : [`stream ${stream}`, id];
          const moves = (speed(part, part.kind === 'source' ? 'source_frames_total' : 'sink_records_total') || 0) > 0;
          wanted.push([from, to, moves ? 'runs' : part.is_good ? '' : 'stands']);
        }
      }
      lines.replaceChildren(...wanted.map(([from, to, kind]) => {
        const [one, two] = [from, to].map(id => cards.get(id).node.getBoundingClientRect());
        const [x1, y1, x2, y2] = [one.right - box.left, one.top + one.height / 2 - box.top, two.left - box.left, two.top + two.height / 2 - box.top];
        const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
        path.setAttribute('d', `M${x1},${y1} C${x1 + 32},${y1} ${x2 - 32},${y2} ${x2},${y2}`);
        if (kind) path.setAttribute('class', kind);
        return path;
      }));
    };
    const update = () => {
      const seen = new Set();
      const show = (column, id, name, word, kind, fast, text, why) => {
        const parts = card(column, id);
        seen.add(id);
        set(parts.name, name);
        set(parts.state, word);
        parts.state.className = `state ${kind}`;
        parts.node.className = `card is-${kind}`;
        set(parts.rate, fast);
        set(parts.facts, text);
        set(parts.why, why);
      };
      for (const part of now.parts) {
        const isSource = part.kind === 'source';
        const fast = speed(part, isSource ? 'source_frames_total' : 'sink_records_total');
        const last = part.last_frame_ms === null ? 'nothing yet' : `last ${span((now.now_ms - part.last_frame_ms) / 1000)} ago`;
        const set_aside = part.numbers.dead_letters_total ? ` · ${count(part.numbers.dead_letters_total)} set aside` : '';
        const waits = waiting(part) ? `${count(waiting(part))} wait · oldest ${span(oldest([part]) || 0)}` : 'nothing waits';
        show(columns[isSource ? 0 : 2], `${part.kind} ${part.name}`, part.name, part.health, state(part),
          fast === null ? '…' : `${rate(fast)} /s`, (isSource ? last : waits) + set_aside, part.is_good ? '' : part.state.replace(/^[a-z]+: /, ''));
      }
      for (const stream of now.streams) {
        const records = Math.max(0, stream.last - stream.first + 1);
        const own = stream.name.startsWith('forebay.');
        if (own && !records) continue;
        show(columns[1], `stream ${stream.name}`, stream.name, own ? 'own' : '', 'good', `${count(records)} kept`, `${size(stream.bytes)} · up to ${count(stream.last)}`, '');
      }
      for (const [id, parts] of cards) if (!seen.has(id)) { parts.node.remove(); cards.delete(id); }
      const sinks = now.parts.filter(part => part.kind === 'sink');
      const age = oldest(sinks);
      set(facts.records, `${count(Math.max(0, ...sinks.map(waiting)))} records`);
      set(facts.age, age === null ? '–' : span(age));
      set(facts.bytes, size(now.fill.waits));
      const full = now.fill.full_in_s === null ? '' : `, full in ${span(now.fill.full_in_s)}`;
      set(facts.fill, `${(100 * now.fill.waits / Math.max(1, now.fill.room)).toFixed(1)} %${full}`);
      set(facts.memory, size(now.numbers.memory_bytes || 0));
      set(facts.dead, `${count(letters())} open`);
      const at = now.now_ms / 1000;
      if (!data[0].length || at - data[0][data[0].length - 1] >= 5) {
        data[0].push(at); data[1].push(Math.max(0, ...sinks.map(waiting))); data[2].push(age || 0);
        // A day, as of the agent, and what came since the page was opened.
        while (data[0].length > 20000) data.forEach(values => values.shift());
        drawn();
      }
      draw();
    };
    return { update, leave: () => { removeEventListener('resize', resized); if (plot) plot.destroy(); } };
  };

  // ---- streams: ranges, and a browser of records
  views.streams = (name = '') => {
    const rows = el('tbody');
    const list = el('div', { class: 'table' }, el('table', {}, el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'Stream'), ...['From', 'To', 'Records', 'Bytes'].map(title => el('th', { scope: 'col', class: 'number' }, title)))), rows));
    const records = el('div');
    main.replaceChildren(el('h2', {}, 'Streams'), list, records);
    let first = null;
    const open = async from => {
      const stream = now && now.streams.find(stream => stream.name === name);
      if (!stream) { records.replaceChildren(); return; }
      first = from === null ? Math.max(stream.first, stream.last - 49) : Math.max(stream.first, from);
      let found;
      try { found = await ask(`api/v1/records/${encodeURIComponent(name)}?from=${first}&limit=50`); }
      catch (error) { records.replaceChildren(el('p', { class: 'why' }, String(error.message))); return; }
      const body = el('tbody', {}, ...found.map(record => el('tr', {},
        el('td', { class: 'number' }, String(record.sequence)), el('td', {}, time(record.arrival_ms)),
        el('td', { class: 'text' }, record.key), el('td', { class: 'text' }, record.payload + (record.cut ? ' …' : '')),
        el('td', { class: 'text' }, Object.entries(record.attributes).map(([name, value]) => `${name}=${value}`).join(' ')))));
      records.replaceChildren(
        el('div', { class: 'bar' }, el('h2', {}, `Records of ${name}`),
          el('button', { type: 'button', onclick: () => open(first - 50) }, 'Older'),
          el('button', { type: 'button', onclick: () => open(first + 50 > stream.last ? null : first + 50) }, 'Newer'),
          el('button', { type: 'button', onclick: () => open(null) }, 'Newest')),
        el('div', { class: 'table' }, el('table', {}, el('thead', {}, el('tr', {}, ...['Sequence', 'Arrived', 'Key', 'Payload', 'Attributes'].map(title => el('th', { scope: 'col' }, title)))), body)),
        el('p', { class: 'soft' }, found.length ? '' : 'There are none.'));
    };
    let opened = false;
    return {
      update: () => {
        rows.replaceChildren(...now.streams.map(stream => el('tr', {},
          el('td', {}, el('a', { href: `#streams/${encodeURIComponent(stream.name)}`, 'aria-current': stream.name === name }, stream.name)),
          ...[stream.first, stream.last, Math.max(0, stream.last - stream.first + 1)].map(number => el('td', { class: 'number' }, count(number))),
          el('td', { class: 'number' }, size(stream.bytes)))));
        if (!opened && name) { opened = true; open(null); }
      },
      quiet: true,
    };
  };

  // ---- a source or a sink: its state, its last records, its lines of the log, its numbers
  views.part = (id = '') => {
    const [kind, name] = [id.split(' ')[0], id.slice(id.indexOf(' ') + 1)];
    const [why, records, lines, numbers] = [el('p', { class: 'why' }), el('tbody'), el('tbody'), el('tbody')];
    const word = el('span', { class: 'state' });
    const table = body => el('div', { class: 'table' }, el('table', {}, body));
    main.replaceChildren(el('div', { class: 'bar' }, el('h2', {}, `${kind} ${name}`), word), why,
      el('h2', {}, kind === 'source' ? 'What it brought last' : 'The streams that it delivers'), table(records),
      el('h2', {}, 'Log'), table(lines), el('h2', {}, 'Numbers'), table(numbers));
    let busy = false;
    const look = async part => {
      if (busy) return;
      busy = true;
      try {
        const rows = [];
        for (const stream of now.streams.filter(stream => part.streams.includes(stream.name))) {
          const from = Math.max(stream.first, stream.last - 9);
          const found = await ask(`api/v1/records/${encodeURIComponent(stream.name)}?from=${from}&limit=10`);
          rows.push(...found.reverse().map(record => el('tr', {}, el('td', {}, stream.name), el('td', {}, time(record.arrival_ms)),
            el('td', { class: 'text' }, record.key), el('td', { class: 'text' }, record.payload + (record.cut ? ' …' : '')))));
        }
        records.replaceChildren(...rows);
        const own = (await ask('api/v1/log')).filter(line => line.text.includes(`${kind}=${name}`) || line.text.includes(`${kind}="${name}"`));
        lines.replaceChildren(...own.reverse().slice(0, 20).map(line => el('tr', {}, el('td', {}, time(line.at_ms)), el('td', { class: line.level }, line.level), el('td', { class: 'text' }, line.text))));
      } catch { /* the next time */ } finally { busy = false; }
    };
    return {
      update: () => {
        const part = now.parts.find(part => part.kind === kind && part.name === name);
        if (!part) { set(why, 'It is not in the configuration.'); return; }
        set(word, part.health);
        word.className = `state ${state(part)}`;
        set(why, part.is_good ? '' : part.state.replace(/^[a-z]+: /, ''));
        numbers.replaceChildren(...Object.entries(part.numbers).map(([name, value]) => el('tr', {}, el('td', { class: 'text' }, name), el('td', { class: 'number' }, count(value)))));
        look(part);
      },
    };
  };

  // ---- dead letters: why, and what to do with them
  views.letters = () => {
    const rows = el('tbody');
    const note = el('p', { role: 'status' });
    const buttons = ['Replay', 'Discard'].map(title => el('button', { type: 'button', onclick: () => take(title.toLowerCase()) }, title));
    main.replaceChildren(el('div', { class: 'bar' }, el('h2', {}, 'Open dead letters'), ...buttons), note,
      el('p', { class: 'soft' }, 'Messages that could not be decoded or delivered. Replay reads them again, as the configuration says now, or sends them again. Discard takes them off this list; they stay in the stream.'),
      el('div', { class: 'table' }, el('table', {}, el('thead', {}, el('tr', {}, ...['Sequence', 'Arrived', 'Of', 'Reason', 'Text'].map(title => el('th', { scope: 'col' }, title)))), rows)));
    let last = 0;
    let busy = false;
    const show = async () => {
      if (busy) return;
      busy = true;
      try {
        const found = letters() ? await ask(`api/v1/records/forebay.dead-letters?from=${now.open_dead_letters_from}&limit=50`) : [];
        last = found.length ? found[found.length - 1].sequence : 0;
        buttons.forEach((button, at) => { button.disabled = !last; set(button, `${['Replay', 'Discard'][at]} these ${found.length || ''}`); });
        rows.replaceChildren(...found.map(record => {
          const { reason = '', source, sink, stream = '' } = record.attributes;
          return el('tr', {}, el('td', { class: 'number' }, String(record.sequence)), el('td', {}, time(record.arrival_ms)),
            el('td', {}, `${sink ? `sink ${sink}` : `source ${source || ''}`}, ${stream || record.key}`), el('td', { class: 'text' }, reason),
            el('td', { class: 'text' }, record.payload.slice(0, 300) + (record.cut || record.payload.length > 300 ? ' …' : '')));
        }));
      } catch (error) { set(note, String(error.message)); } finally { busy = false; }
    };
    const take = async what => {
      set(note, '…');
      try {
        const [done, answer] = await change(`api/v1/dead-letters/${what}`, last);
        const told = [['replayed', 'replayed'], ['again', 'still bad, and set aside again'], ['left', 'cannot be replayed'], ['discarded', 'discarded']];
        set(note, done ? told.filter(([name]) => answer[name]).map(([name, words]) => `${count(answer[name])} ${words}`).join(', ') : answer);
      } catch (error) { set(note, String(error.message)); }
    };
    return { update: show };
  };

  // ---- alerts
  views.alerts = () => {
    const rows = el('tbody');
    const none = el('p', { class: 'soft' });
    main.replaceChildren(el('h2', {}, 'Active alerts'), none, el('div', { class: 'table' }, el('table', {}, el('thead', {}, el('tr', {}, ...['Alert', 'About', 'Since', 'What to do'].map(title => el('th', { scope: 'col' }, title)))), rows)));
    return {
      update: () => {
        set(none, now.alerts.length ? '' : 'There are none.');
        rows.replaceChildren(...now.alerts.map(alert => el('tr', {},
          el('td', {}, el('span', { class: `state ${alert.severity === 'critical' ? 'bad' : 'wait'}` }, alert.name)),
          el('td', {}, alert.about), el('td', {}, `${span((now.now_ms - alert.since_ms) / 1000)} ago`), el('td', {}, alert.message))));
      },
    };
  };

  // ---- configuration: what was pushed, the generations, what each changed
  views.config = (wanted = '') => {
    const words = el('p');
    const problem = el('p', { class: 'why' });
    const [rows, text] = [el('tbody'), el('div')];
    main.replaceChildren(el('h2', {}, 'Configuration'), words, problem,
      el('div', { class: 'table' }, el('table', {}, el('thead', {}, el('tr', {}, ...['Generation', 'Since', 'From'].map(title => el('th', { scope: 'col' }, title)))), rows)), text);
    let shown = null;
    const look = async () => {
      try {
        const found = await ask('api/v1/config');
        const mark = (what, mark) => mark ? `, ${what} document ${mark.serial}` : '';
        set(words, `${found.phase}${mark('in force', found.production)}${mark('on trial', found.trial && found.trial.mark)}${mark('before', found.previous)}`);
        const { serial, code, message, place } = found.problem || {};
        set(problem, found.problem ? `Last problem: ${serial ? `document ${serial}: ` : ''}${code}: ${place ? `line ${place[0]}, column ${place[1]}: ` : ''}${message}` : '');
        rows.replaceChildren(...[...found.generations].reverse().map(one => el('tr', {},
          el('td', {}, el('a', { href: `#config/${one.number}`, 'aria-current': String(one.number) === wanted }, String(one.number))),
          el('td', {}, time(one.at_ms)), el('td', {}, one.serial === null ? 'the local file' : `document ${one.serial}`))));
        const newest = found.generations.length ? found.generations[found.generations.length - 1].number : null;
        const number = wanted || newest;
        if (number === null || shown === number) return;
        shown = number;
        const one = await ask(`api/v1/config/${number}`);
        const lines = one.diff.split('\n').map(line => el('span', { class: line.startsWith('+') ? 'added' : line.startsWith('-') ? 'removed' : '' }, `${line}\n`));
        text.replaceChildren(...(one.diff ? [el('h2', {}, `What generation ${number} changed`), el('pre', {}, ...lines)] : []),
          el('h2', {}, `Generation ${number}`), el('pre', {}, one.text));
      } catch (error) { set(problem, String(error.message)); }
    };
    return { update: look };
  };

  // ---- numbers
  views.numbers = () => {
    const groups = el('div');
    main.replaceChildren(groups);
    return {
      update: () => {
        const table = (title, numbers) => [el('h2', {}, title), el('div', { class: 'table' }, el('table', {}, el('tbody', {},
          ...Object.entries(numbers).map(([name, value]) => el('tr', {}, el('td', { class: 'text' }, name), el('td', { class: 'number' }, count(value)))))))];
        groups.replaceChildren(...now.parts.flatMap(part => table(`${part.kind} ${part.name}`, part.numbers)), ...table('The agent', now.numbers));
      },
    };
  };

  // ---- log
  views.log = () => {
    const rows = el('tbody');
    const level = el('select', { 'aria-label': 'Least level' }, ...['INFO', 'WARN', 'ERROR'].map(word => el('option', {}, word)));
    const filter = el('input', { type: 'search', placeholder: 'only with this text', 'aria-label': 'Only lines with this text' });
    main.replaceChildren(el('div', { class: 'bar' }, el('h2', {}, 'Log'), level, filter), el('div', { class: 'table' }, el('table', {}, rows)));
    const order = ['ERROR', 'WARN', 'INFO', 'DEBUG', 'TRACE'];
    let lines = [];
    const show = () => {
      const wanted = filter.value.toLowerCase();
      const fit = lines.filter(line => order.indexOf(line.level) <= order.indexOf(level.value) && (line.text + line.event).toLowerCase().includes(wanted));
      rows.replaceChildren(...fit.reverse().map(line => el('tr', {},
        el('td', {}, time(line.at_ms)), el('td', { class: line.level }, line.level), el('td', { class: 'text' }, line.text))));
    };
    [level, filter].forEach(input => input.addEventListener('input', show));
    let busy = false;
    return { update: async () => { if (busy) return; busy = true; try { lines = await ask('api/v1/log'); show(); } catch { /* the next time */ } finally { busy = false; } } };
  };

  // ---- where we are
  let view = null;
  const go = () => {
    const [wanted, rest] = location.hash.slice(1).split('/');
    const name = views[wanted] ? wanted : 'overview';
    if (view && view.leave) view.leave();
    current = name;
    let decoded = '';
    try { decoded = decodeURIComponent(rest || ''); } catch { /* no name */ }
    view = views[name](decoded);
    document.querySelectorAll('nav a').forEach(link => {
      if (link.getAttribute('href') === `#${name}`) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
    });
    if (now) view.update();
  };
  addEventListener('hashchange', () => { go(); main.focus({ preventScroll: true }); scrollTo(0, 0); });

  // ---- live, while somebody looks
  const live = document.getElementById('live');
  const follow = () => {
    if (events) return;
    events = new EventSource('api/v1/events');
    events.onmessage = message => {
      before = now;
      now = JSON.parse(message.data);
      set(live, `live, ${time(now.now_ms)}`);
      head();
      if (view) view.update();
    };
    events.onerror = () => set(live, 'no connection to the agent; trying again');
  };
  const rest = () => { if (events) events.close(); events = null; before = now = null; set(live, 'paused'); };
  document.addEventListener('visibilitychange', () => document.hidden ? rest() : follow());
  go();
  follow();
})();
