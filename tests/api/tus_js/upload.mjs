// Uploads a file with tus-js-client, and goes on by itself when the line is lost: node upload.mjs URL TOKEN FILE CHUNK
import { createReadStream, statSync } from 'node:fs'
import { Upload } from 'tus-js-client'

const [url, token, file, chunk] = process.argv.slice(2)
const upload = new Upload(createReadStream(file), {
  endpoint: url,
  headers: { Authorization: `Bearer ${token}` },
  metadata: { filename: 'disk.raw' },
  uploadSize: statSync(file).size,
  chunkSize: chunk === '0' ? Infinity : Number(chunk),
  retryDelays: Array(100).fill(150),
  onSuccess: () => console.log(upload.url),
  onError: (error) => {
    console.error(String(error))
    process.exitCode = 1
  },
})
upload.start()
